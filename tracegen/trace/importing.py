"""Make a trace of arrays that were captured elsewhere, an .npz file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracegen.base.errors import UserError, nearest
from tracegen.trace.schema import ITEM_BYTES, Manifest, check
from tracegen.trace.store import NUMPY_DTYPE, Trace
from tracegen.trace.writer import TraceWriter

Array = npt.NDArray[Any]
REQUIRED = ("query", "key", "value", "prefill_tokens")
OPTIONAL = (
    "output",
    "prompt_query",
    "prompt_attention",
    "prompt_attention_decayed",
    "softmax_scale",
    "soft_cap",
    "sliding_window",
    "token_id",
    "dtype",
    "layers",
)


def import_arrays(source: str | Path, out: str | Path, *, overwrite: bool = False) -> Trace:
    """Write the arrays of an .npz file as a trace of kind `imported`.

    Required arrays: `query` (q_heads, steps, head_dim), `key` and `value` (kv_heads,
    prefill_tokens + steps, head_dim), `prefill_tokens`; step s sees tokens 0 .. prefill_tokens + s,
    its own included. A leading axis over layers is allowed on every vector array. float16, float32,
    or uint16 holding bfloat16 with an array `dtype` = "bfloat16". Optional: `output` as query,
    `prompt_query` (q_heads, n, head_dim), `prompt_attention` and `prompt_attention_decayed`
    (q_heads, prefill_tokens), `softmax_scale` (1/sqrt(head_dim) when absent), `soft_cap`,
    `sliding_window`, `token_id` (tokens), `layers` (the layers' numbers). Others are not read.

    Raises:
        UserError: no such file, not an .npz, or arrays missing or of shapes that contradict.
    """
    arrays = _read(Path(source))
    dtype = _dtype(arrays, source)
    given = _Arrays.of(arrays, source)
    problems = given.problems(NUMPY_DTYPE[dtype])
    if problems:
        raise UserError(f"{source}: {'; '.join(problems)}; correct the arrays")
    n_layers, q_heads, steps, head_dim = given.query.shape
    numbers = arrays.get("layers")
    scale = float(arrays.get("softmax_scale", head_dim**-0.5))
    window = int(arrays["sliding_window"]) if "sliding_window" in arrays else None
    manifest = Manifest(
        kind="imported",
        model=Path(source).name,
        layers=tuple(range(n_layers)) if numbers is None else tuple(map(int, np.ravel(numbers))),
        q_heads=q_heads,
        kv_heads=given.key.shape[1],
        head_dim=head_dim,
        dtype=dtype,
        prompt_tokens=given.prompt_tokens,
        decode_steps=steps,
        softmax_scale=(scale,) * n_layers,
        sliding_window=(window,) * n_layers,
        soft_cap=float(arrays["soft_cap"]) if "soft_cap" in arrays else None,
        has_output=given.output is not None,
        prompt_queries=0 if given.prompt_query is None else given.prompt_query.shape[2],
        has_prompt_attention=given.sums is not None,
    )
    problems = check(manifest)
    if problems:
        raise UserError(f"{source}: {'; '.join(problems)}; correct the arrays")
    token_id = arrays.get("token_id")
    if token_id is not None and token_id.shape != (manifest.tokens,):
        raise UserError(
            f"{source}: token_id has shape {token_id.shape}, expected ({manifest.tokens},)"
        )
    with TraceWriter(out, manifest, overwrite=overwrite) as writer:
        for index, layer in enumerate(manifest.layers):
            writer.write_layer(
                layer,
                key=given.key[index],
                value=given.value[index],
                query=given.query[index],
                output=None if given.output is None else given.output[index],
                prompt_query=None if given.prompt_query is None else given.prompt_query[index],
                prompt_attention=None
                if given.sums is None
                else (given.sums[0][index], given.sums[1][index]),
            )
        writer.write_tokens(token_id=None if token_id is None else token_id.astype(int).tolist())
    return Trace.open(out)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The vector arrays with their axis over layers, and the prompt's length."""

    query: Array
    key: Array
    value: Array
    prompt_tokens: int
    output: Array | None
    prompt_query: Array | None
    sums: tuple[Array, Array] | None

    @classmethod
    def of(cls, arrays: Mapping[str, Array], source: str | Path) -> "_Arrays":
        per_layer = ("query", "key", "value", "output", "prompt_query")
        vectors = {}
        for name in (*per_layer, "prompt_attention", "prompt_attention_decayed"):
            axes = 3 if name in per_layer else 2
            array = arrays.get(name)
            if array is None:
                continue
            if array.ndim not in (axes, axes + 1):
                raise UserError(
                    f"{source}: {name} has {array.ndim} axes, expected {axes}, or {axes + 1} with "
                    "a leading one over layers"
                )
            vectors[name] = array[None] if array.ndim == axes else array
        tokens = np.ravel(arrays["prefill_tokens"])
        if tokens.size != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise UserError(f"{source}: prefill_tokens is not one whole number; correct it")
        sums = None
        if "prompt_attention" in vectors and "prompt_attention_decayed" in vectors:
            sums = (
                vectors["prompt_attention"].astype(np.float32),
                vectors["prompt_attention_decayed"].astype(np.float32),
            )
        return cls(
            vectors["query"],
            vectors["key"],
            vectors["value"],
            int(tokens[0]),
            vectors.get("output"),
            vectors.get("prompt_query"),
            sums,
        )

    def problems(self, dtype: type) -> list[str]:
        """Return which arrays contradict the others, in words."""
        n_layers, q_heads, steps, head_dim = self.query.shape
        kv_heads = self.key.shape[1]
        found = []
        tokens = self.prompt_tokens + steps
        expected = {
            "key": (self.key, (n_layers, kv_heads, tokens, head_dim)),
            "value": (self.value, (n_layers, kv_heads, tokens, head_dim)),
        }
        if self.output is not None:
            expected["output"] = (self.output, self.query.shape)
        if self.prompt_query is not None:
            n_queries = min(self.prompt_query.shape[2], self.prompt_tokens)
            shape = (n_layers, q_heads, n_queries, head_dim)
            expected["prompt_query"] = (self.prompt_query, shape)
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                found.append(
                    f"{name} has shape {array.shape}, expected {shape} (layers, heads, rows, "
                    f"head_dim) for prefill_tokens {self.prompt_tokens} and {steps} steps"
                )
            if array.dtype != self.query.dtype:
                found.append(f"{name} is {array.dtype} and query is {self.query.dtype}")
        for array in self.sums or ():
            per_token = (n_layers, q_heads, self.prompt_tokens)
            if array.shape != per_token:
                found.append(f"prompt_attention has shape {array.shape}, expected {per_token}")
        if self.query.dtype != dtype:
            found.append(f"query is {self.query.dtype}, expected {np.dtype(dtype)}")
        return found


def _read(source: Path) -> dict[str, Array]:
    if not source.exists():
        raise UserError(f"{source}: no such file; give an .npz file of arrays")
    try:
        # numpy leaves a file open that it cannot read, so it is given an open one.
        with source.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not hasattr(file, "files"):
                raise UserError(f"{source}: one array, not an .npz of several; use np.savez")
            missing = [name for name in REQUIRED if name not in file.files]
            if missing:
                raise UserError(
                    f"{source}: array {', '.join(missing)} missing; "
                    f"{nearest(missing[0], file.files).replace('known', 'found')}"
                )
            return {name: file[name] for name in (*REQUIRED, *OPTIONAL) if name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{source}: not a readable .npz file ({error}); write it again") from error


def _dtype(arrays: Mapping[str, Array], source: str | Path) -> str:
    stated = str(arrays["dtype"]) if "dtype" in arrays else str(arrays["query"].dtype)
    if stated not in ITEM_BYTES:
        raise UserError(
            f"{source}: vectors are {stated}, allowed: {', '.join(ITEM_BYTES)} (bfloat16 as uint16 "
            'with an array dtype = "bfloat16"); convert them'
        )
    return stated
