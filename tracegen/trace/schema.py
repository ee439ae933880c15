"""What a trace folder is: its manifest, its files, their columns, and the version of all that.

`docs/trace_format.md` is the same in prose. Nothing here reads vectors; the store does.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import numpy as np
import pyarrow as pa

from tracegen.base.documents import parse_json
from tracegen.base.errors import UserError

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


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read `manifest.json`.

    Raises:
        UserError: not JSON, a newer schema, or fields missing, unknown or of a wrong type or value;
            all problems are in one message that starts with `where`.
    """
    raw = parse_json(data, where)
    version = raw.get("schema_version")
    if not _whole(version, 1):
        raise UserError(
            f"{where}: schema_version is {version!r}, expected a whole number from 1 to "
            f"{SCHEMA_VERSION}; this is not the manifest of a trace"
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{where}: trace schema {version} is newer than {SCHEMA_VERSION}, the newest that this "
            "version reads; update the program or capture the trace again"
        )
    known = {one.name: one for one in dataclasses.fields(Manifest)}
    unknown = sorted(set(raw) - set(known))
    missing = sorted(
        name
        for name, one in known.items()
        if name not in raw
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
    )
    if unknown or missing:
        raise UserError(
            f"{where}: fields missing: {', '.join(missing) or 'none'}; unknown fields: "
            f"{', '.join(unknown) or 'none'}; capture the trace again"
        )
    problems = [
        f"{name} is {shown(raw[name])}, expected a list"
        for name in (*_LISTS, "files")
        if not isinstance(raw.get(name, []), list)
    ]
    if not problems:
        manifest = _build(raw)
        problems = check(manifest) or _version_problems(manifest) or _file_problems(manifest)
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}; capture the trace again")
    return manifest


def _build(raw: dict[str, Any]) -> Manifest:
    """Return the manifest as it was written; `check` sees what is wrong with its values."""
    values = dict(raw)
    head_dim = raw["head_dim"]  # one number stands for all layers
    values["head_dim"] = head_dim if isinstance(head_dim, list) else [head_dim] * len(raw["layers"])
    for name in ("head_dim", *_LISTS):
        values[name] = tuple(
            tuple(one) if isinstance(one, list) else one for one in values.get(name, ())
        )
    values["files"] = tuple(
        FileEntry(one.get("path"), one.get("size_bytes"), one.get("sha256"))  # type: ignore[arg-type]
        if isinstance(one, dict)
        else one
        for one in raw.get("files", ())
    )
    return Manifest(**values)


def _whole(value: Any, least: int = 0, most: int = (1 << 63) - 1) -> TypeGuard[int]:
    return type(value) is int and least <= value <= most


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _named(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _storable(value: Any) -> bool:
    """Whether JSON can hold an object, and the strict reader would take it back."""
    if not isinstance(value, Mapping):
        return False
    try:
        parse_json(json.dumps(dict(value)).encode(), "")
    except (TypeError, ValueError, UserError):
        return False
    return True


def _each(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: all(map(holds, values))


def _or_null(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


_SIZE = (lambda value: _whole(value, 1, MOST_HEADS), f"a whole number from 1 to {MOST_HEADS:,}")
_COUNT = (lambda value: _whole(value, 1, MOST_TOKENS), f"a whole number from 1 to {MOST_TOKENS:,}")
_FLAG = (lambda value: isinstance(value, bool), "true or false")
_OBJECT = (_storable, "an object of plain values")
_LISTS = ("layers", "softmax_scale", "sliding_window", "kv_layer", "sink_logit")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "dtype": (lambda value: value in tuple(ITEM_BYTES), f"one of {', '.join(ITEM_BYTES)}"),
    "model": (_named, "a name"),
    "architecture": (_or_null(_named), "null or a name"),
    "model_sha256": (_or_null(_named), "null or a SHA-256"),
    "q_heads": _SIZE,
    "kv_heads": _SIZE,
    "head_dim": (_each(_SIZE[0]), _SIZE[1]),
    "prompt_tokens": _COUNT,
    "decode_steps": _COUNT,
    "prompt_queries": (lambda value: _whole(value, 0, MOST_TOKENS), "a whole number"),
    "soft_cap": (_or_null(_positive), "null or a number above 0"),
    "layers": (
        lambda value: 0 < len(value) <= MOST_LAYERS and all(map(_whole, value)),
        f"1 to {MOST_LAYERS:,} layer numbers from 0",
    ),
    "softmax_scale": (_each(_positive), "numbers above 0"),
    "sliding_window": (_each(_or_null(lambda value: _whole(value, 1))), "null or from 1"),
    "kv_layer": (_each(_whole), "layer numbers from 0"),
    "sink_logit": (
        _each(lambda values: isinstance(values, tuple) and all(map(_finite, values))),
        "a list of finite numbers a layer",
    ),
    "has_output": _FLAG,
    "has_prompt_attention": _FLAG,
    "teacher_forced": _FLAG,
    "rope": _OBJECT,
    "prompt": _OBJECT,
    "versions": _OBJECT,
}


def check(manifest: Manifest) -> list[str]:
    """Return what is wrong with a manifest's own values, in words; empty if nothing is.

    The one place where types and values of a trace are checked: before it is written and when it
    is opened.
    """
    problems = _field_problems(manifest)
    if problems:  # what follows compares fields that are sound in themselves
        return problems
    if manifest.q_heads % manifest.kv_heads:
        problems.append(
            f"q_heads = {manifest.q_heads} is not a multiple of kv_heads = {manifest.kv_heads}"
        )
    n_layers = len(manifest.layers)
    if len(set(manifest.layers)) != n_layers:
        problems.append(f"layers {shown(list(manifest.layers))} repeats a layer")
    for name in ("softmax_scale", "sliding_window", "head_dim", "kv_layer", "sink_logit"):
        given = getattr(manifest, name)
        if len(given) != n_layers and not (name in ("kv_layer", "sink_logit") and not given):
            problems.append(f"{name} has {len(given)} values for {n_layers} layers")
    if any(len(one) != manifest.q_heads for one in manifest.sink_logit):
        problems.append(f"sink_logit is not one number for each of {manifest.q_heads} query heads")
    if not problems:
        problems += _sharing_problems(manifest)
    if manifest.prompt_queries > manifest.prompt_tokens:
        problems.append(
            f"prompt_queries = {manifest.prompt_queries} of {manifest.prompt_tokens} prompt tokens"
        )
    return problems


def _sharing_problems(manifest: Manifest) -> list[str]:
    """Return which layers read keys and values of a layer that cannot be theirs."""
    own = set(manifest.kv_layers)
    return [
        f"kv_layer: layer {layer} reads the keys and values of layer {owner}, which has none of "
        "its own of that size here"
        for layer, owner in zip(manifest.layers, manifest.kv_layer, strict=bool(manifest.kv_layer))
        if owner not in own or manifest.head_dim_of(owner) != manifest.head_dim_of(layer)
    ]


def _field_problems(manifest: Manifest) -> list[str]:
    """Return which fields hold a value of a wrong type, or out of bounds."""
    return [
        f"{name} is {shown(getattr(manifest, name))}, allowed: {allowed}"
        for name, (holds, allowed) in _RULES.items()
        if not holds(getattr(manifest, name))
    ]


def _version_problems(manifest: Manifest) -> list[str]:
    """Return whether a manifest says what its version cannot."""
    if manifest.schema_version >= manifest.least_version:
        return []
    return [
        f"schema_version is {manifest.schema_version} and several head sizes, kv_layer or "
        f"sink_logit need {manifest.least_version}"
    ]


def _file_problems(manifest: Manifest) -> list[str]:
    """Return what is wrong with the list of files that a finished trace has."""
    entries = manifest.files
    if not all(
        isinstance(one, FileEntry)
        and isinstance(one.path, str)
        and _whole(one.size_bytes, 0)
        and isinstance(one.sha256, str)
        for one in entries
    ):
        return ["files holds something other than path, size_bytes and sha256"]
    listed, expected = [one.path for one in entries], manifest.paths()
    problems = [f"files: {shown(path)} is not listed" for path in expected if path not in listed]
    problems += [
        f"files: {shown(path)} is listed and no file of this trace"
        for path in listed
        if path not in expected
    ]
    if not problems and len(listed) != len(expected):
        problems.append("files lists a file twice")
    return problems


def shown(value: object) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
