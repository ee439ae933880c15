"""What a trace folder is: its manifest, its files, their columns, and the version of all that.

`docs/trace_format.md` is the same in prose. Nothing here reads vectors; the store does.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

SCHEMA_VERSION: Final = 3
"""The newest version. A trace is written as 2 unless it needs what only 3 can say: several head
sizes, layers that read another layer's keys and values, sink logits."""
MANIFEST: Final = "manifest.json"
TOKENS: Final = "tokens.parquet"
ITEM_BYTES: Final = {"float16": 2, "bfloat16": 2, "float32": 4}
NUMPY_DTYPE: Final = {"float16": np.float16, "bfloat16": np.uint16, "float32": np.float32}
"""How numpy holds them: it has no bfloat16, which comes as its 16 bits."""
KINDS: Final = ("captured", "imported", "synthetic")
MOST_HEADS: Final = 1 << 16
"""Largest number of heads and of elements of a head: far above those of any model."""
MOST_LAYERS: Final = 10_000
"""More than any model has: nobody means a longer range, which is not expanded."""
MOST_TOKENS: Final = (1 << 31) - 1
"""Tokens are numbered by int32 columns."""
PROMPT_QUERIES: Final = 128
"""Number of last prompt queries that a capture keeps (fewer for a shorter prompt)."""
DECAY: Final = 0.98
"""Factor a prompt query on the decayed column sums of the prompt's attention weights."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a trace folder: path relative to the folder, size and SHA-256 of its bytes."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a trace but its vectors.

    Per-layer tuples are in the order of `layers`, which holds the model's own layer numbers.
    A step s (from 0) sees tokens 0 .. prompt_tokens + s, its own included, and of those only the
    last `sliding_window` where the layer has one.
    """

    kind: str
    """captured (from a model), imported (arrays from elsewhere) or synthetic (invented)."""
    model: str
    """Name by which the model was loaded, or where the arrays came from."""
    layers: tuple[int, ...]
    q_heads: int
    kv_heads: int
    head_dim: tuple[int, ...]
    """Per layer: elements of a key and of a value."""
    dtype: str
    """float16, bfloat16 or float32: type of every stored vector."""
    prompt_tokens: int
    decode_steps: int
    softmax_scale: tuple[float, ...]
    """Per layer: factor on query . key before the softmax."""
    sliding_window: tuple[int | None, ...]
    """Per layer: a step sees only the last so many tokens; None: all of them."""
    soft_cap: float | None = None
    """Logits become soft_cap * tanh(logits / soft_cap); None: no cap."""
    kv_layer: tuple[int, ...] = ()
    """Per layer: the layer of this trace whose keys and values it reads; empty: each its own."""
    sink_logit: tuple[tuple[float, ...], ...] = ()
    """Per layer and query head: a logit that takes its share of the softmax and has no value (an
    attention sink); empty: none."""
    has_output: bool = False
    """Whether the model's own attention output of each step is stored."""
    prompt_queries: int = 0
    """Number of last prompt queries stored per query head; 0: none."""
    has_prompt_attention: bool = False
    """Whether the column sums of the prompt's attention weights are stored."""
    model_sha256: str | None = None
    """Hash of the model's configuration and weights; None where no model was there."""
    architecture: str | None = None
    """Class of the model, for example LlamaForCausalLM."""
    quantized: Mapping[str, Any] = field(default_factory=dict)
    """The file of quantised weights that the model was unpacked from: file, sha256, architecture,
    tensor_types; empty: the weights were not quantised."""
    compute_dtype: str | None = None
    """Type in which the model computed, where it is not the one that is stored."""
    teacher_forced: bool = False
    """Whether the decoded tokens were given rather than chosen by the model."""
    rope: Mapping[str, Any] = field(default_factory=dict)
    """RoPE parameters as the model's configuration states them; empty: none known."""
    prompt: Mapping[str, Any] = field(default_factory=dict)
    """Where the prompt came from."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the software that wrote the trace."""
    files: tuple[FileEntry, ...] = ()
    schema_version: int = 2

    @property
    def tokens(self) -> int:
        """Cache positions at the last step."""
        return self.prompt_tokens + self.decode_steps

    @property
    def group(self) -> int:
        """Query heads that share one KV head."""
        return self.q_heads // self.kv_heads

    def head_dim_of(self, layer: int) -> int:
        """Elements of a key of a layer."""
        return self.head_dim[self.layers.index(layer)]

    def vector_bytes(self, layer: int) -> int:
        """Bytes of one stored vector of a layer."""
        return self.head_dim_of(layer) * ITEM_BYTES[self.dtype]

    def kv_layer_of(self, layer: int) -> int:
        """Layer in whose file the keys and values lie that a layer reads."""
        return self.kv_layer[self.layers.index(layer)] if self.kv_layer else layer

    @property
    def kv_layers(self) -> tuple[int, ...]:
        """Layers that have keys and values of their own."""
        return tuple(layer for layer in self.layers if self.kv_layer_of(layer) == layer)

    @property
    def least_version(self) -> int:
        """Oldest schema version that can say all this."""
        return 3 if self.kv_layer or self.sink_logit or len(set(self.head_dim)) > 1 else 2

    @property
    def hash(self) -> str:
        """Identity of the trace: SHA-256 over its shape and the checksums of its files."""
        fields = {k: v for k, v in self._fields().items() if k not in _NOT_IDENTITY}
        fields["files"] = sorted((one.path, one.sha256) for one in self.files)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of `manifest.json`."""
        return json.dumps(self._fields(), indent=1, ensure_ascii=False) + "\n"

    def _fields(self) -> dict[str, Any]:
        """Return the fields as they are written: what only version 3 knows, only where it is used.

        So a trace that version 2 can hold keeps its bytes and its identity.
        """
        fields = dataclasses.asdict(self)
        if len(set(self.head_dim)) == 1:
            fields["head_dim"] = self.head_dim[0]
        return {k: v for k, v in fields.items() if v or k not in ("kv_layer", "sink_logit")}

    def paths(self) -> list[str]:
        """Return the relative path of every file that a complete trace of this shape has."""
        own = set(self.kv_layers)
        kinds = ["kv", "queries"]
        kinds += ["prompt_queries"] if self.prompt_queries else []
        kinds += ["prompt_attention"] if self.has_prompt_attention else []
        return [
            layer_path(kind, layer)
            for layer in self.layers
            for kind in kinds
            if kind != "kv" or layer in own
        ] + [TOKENS]


_NOT_IDENTITY = ("files", "versions", "model", "prompt", "quantized", "compute_dtype")


def layer_path(kind: str, layer: int) -> str:
    """Return the relative path of a layer's file of `kind`: kv, queries, prompt_queries, ..."""
    return f"{kind}/layer_{layer:03d}.parquet"


def columns(kind: str, manifest: Manifest, layer: int | None = None) -> pa.Schema:
    """Return the Parquet schema of a file of `kind`; vectors are raw little-endian bytes."""
    vector = pa.binary(-1 if layer is None else manifest.vector_bytes(layer))
    fields: dict[str, list[tuple[str, pa.DataType]]] = {
        "kv": [("kv_head", pa.int32()), ("token", pa.int32()), ("key", vector), ("value", vector)],
        "queries": [("q_head", pa.int32()), ("step", pa.int32()), ("query", vector)]
        + ([("output", vector)] if manifest.has_output else []),
        "prompt_queries": [("q_head", pa.int32()), ("token", pa.int32()), ("query", vector)],
        "prompt_attention": [
            ("q_head", pa.int32()),
            ("token", pa.int32()),
            ("attention_sum", pa.float32()),
            ("attention_sum_decayed", pa.float32()),
        ],
        "tokens": [("token", pa.int32()), ("position", pa.int32()), ("phase", pa.string())],
    }
    required = [pa.field(name, kind_, nullable=False) for name, kind_ in fields[kind]]
    if kind == "tokens":
        required += [
            pa.field("token_id", pa.int64()),
            pa.field("text", pa.string()),
            pa.field("log_prob", pa.float32()),
        ]
    return pa.schema(required)


def estimate_bytes(manifest: Manifest) -> int:
    """Return the size of a complete trace of this shape, to within a few per cent.

    Row numbers cost 8 bytes a row before their run-length encoding, which is not counted on.
    """
    size = manifest.tokens * 32 + 4096
    own = set(manifest.kv_layers)
    for layer, head_dim in zip(manifest.layers, manifest.head_dim, strict=True):
        vector = head_dim * ITEM_BYTES[manifest.dtype]
        if layer in own:
            size += manifest.kv_heads * manifest.tokens * (2 * vector + 8)
        outputs = vector if manifest.has_output else 0
        size += manifest.q_heads * manifest.decode_steps * (vector + outputs + 8)
        size += manifest.q_heads * manifest.prompt_queries * (vector + 8)
        if manifest.has_prompt_attention:
            size += manifest.q_heads * manifest.prompt_tokens * 16
    return size
