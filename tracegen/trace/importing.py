"""Make a trace of arrays that were captured elsewhere, an .npz file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from tracegen.base.errors import UserError, nearest
from tracegen.base.location import local_path
from tracegen.trace.manifest_rules import check
from tracegen.trace.schema import ITEM_BYTES, NUMPY_DTYPE, Manifest
from tracegen.trace.store import Trace
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
    "sink_logit",
    "sliding_window",
    "token_id",
    "dtype",
    "layers",
)
SUMS = ("prompt_attention", "prompt_attention_decayed")
NO_WINDOW = -1
"""Sliding window of a layer without one, as FlashAttention writes it."""


def import_arrays(source: str | Path, out: str | Path, *, overwrite: bool = False) -> Trace:
    """Write the arrays of an .npz file as a trace of kind `imported`.

    Required arrays: `query` (q_heads, steps, head_dim), `key` and `value` (kv_heads,
    prefill_tokens + steps, head_dim), `prefill_tokens`; step s sees tokens 0 .. prefill_tokens + s,
    its own included. A leading axis over layers is allowed on every vector array. float16, float32,
    or uint16 holding bfloat16 with an array `dtype` = "bfloat16". Optional: `output` as query,
    `prompt_query` (q_heads, n, head_dim), `prompt_attention` and `prompt_attention_decayed`
    (q_heads, prefill_tokens), `softmax_scale` (1/sqrt(head_dim) when absent) and `sliding_window`
    (-1: none), each one value or one a layer, `soft_cap`, `sink_logit` (q_heads), `token_id`
    (tokens), `layers` (the layers' numbers). Others are not read.

    Raises:
        UserError: no such file, not an .npz, or arrays missing, of shapes or types that
            contradict, or with values that are not finite or impossible.
    """
    arrays = _read(source)
    dtype = _dtype(arrays, source)
    given = _Arrays.of(arrays, source)
    problems = given.problems(NUMPY_DTYPE[dtype])
    if problems:
        raise UserError(f"{source}: {'; '.join(problems)}; correct the arrays")
    numbers = _Numbers(arrays, source)
    n_layers, q_heads, steps, head_dim = given.query.shape
    soft_cap = numbers.of("soft_cap", float, 1)
    scales = numbers.of("softmax_scale", float, n_layers, shared=True)
    windows = numbers.of("sliding_window", int, n_layers, shared=True)
    manifest = Manifest(
        kind="imported",
        model=Path(source).name,
        layers=tuple(numbers.of("layers", int, n_layers) or range(n_layers)),
        q_heads=q_heads,
        kv_heads=given.key.shape[1],
        head_dim=(head_dim,) * n_layers,
        dtype=dtype,
        prompt_tokens=given.prompt_tokens,
        decode_steps=steps,
        softmax_scale=tuple(scales or [head_dim**-0.5] * n_layers),
        sliding_window=tuple(
            None if one == NO_WINDOW else one for one in windows or [NO_WINDOW] * n_layers
        ),
        soft_cap=soft_cap[0] if soft_cap else None,
        sink_logit=_sinks(arrays, n_layers, q_heads, source),
        has_output=given.output is not None,
        prompt_queries=0 if given.prompt_query is None else given.prompt_query.shape[2],
        has_prompt_attention=given.sums is not None,
    )
    problems = check(manifest)
    if problems:
        raise UserError(f"{source}: {'; '.join(problems)}; correct the arrays")
    token_id = numbers.of("token_id", int, manifest.tokens)
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
        writer.write_tokens(token_id=token_id or None)
    return Trace.open(out)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The arrays of plain numbers, strict about their types."""

    arrays: Mapping[str, Array]
    source: str | Path

    @overload
    def of(self, name: str, kind: type[int], count: int, *, shared: bool = ...) -> list[int]: ...
    @overload
    def of(
        self, name: str, kind: type[float], count: int, *, shared: bool = ...
    ) -> list[float]: ...
    def of(self, name: str, kind: type, count: int, *, shared: bool = False) -> list[Any]:
        """Return the `count` numbers of an array; empty: no such array.

        Args:
            name: of the array.
            kind: int or float; a float is never taken for an int.
            count: how many there must be.
            shared: whether a single one may stand for all.

        Raises:
            UserError: another type or number of values.
        """
        if name not in self.arrays:
            return []
        array = self.arrays[name]
        sizes = {1, count} if shared else {count}
        if (
            array.dtype.kind not in ("iu" if kind is int else "iuf")
            or array.size not in sizes
            or array.ndim > 1
        ):
            word = "whole number" if kind is int else "number"
            counts = [f"{n:,} {word}s" if n > 1 else f"one {word}" for n in sorted(sizes)]
            raise UserError(
                f"{self.source}: {name} has type {array.dtype} and shape {array.shape}, expected "
                f"{' or '.join(counts)}; correct the array"
            )
        values = [kind(one) for one in array.ravel().tolist()]
        return values if len(values) == count else values * count


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
        (prompt_tokens,) = _Numbers(arrays, source).of("prefill_tokens", int, 1)
        return cls(
            vectors["query"],
            vectors["key"],
            vectors["value"],
            prompt_tokens,
            vectors.get("output"),
            vectors.get("prompt_query"),
            _sums(vectors, source),
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


def _sinks(
    arrays: Mapping[str, Array], n_layers: int, q_heads: int, source: str | Path
) -> tuple[tuple[float, ...], ...]:
    """Return the sink logits of each layer and query head; empty: there are none."""
    if "sink_logit" not in arrays:
        return ()
    array = arrays["sink_logit"]
    array = array[None] if array.ndim == 1 else array
    if array.shape != (n_layers, q_heads) or array.dtype.kind not in "iuf":
        raise UserError(
            f"{source}: sink_logit has type {array.dtype} and shape {array.shape}, expected "
            f"numbers {(n_layers, q_heads)} (layers, query heads); correct the array"
        )
    return tuple(tuple(map(float, one)) for one in array.tolist())


def _sums(vectors: Mapping[str, Array], source: str | Path) -> tuple[Array, Array] | None:
    """Return both column sums of the prompt's attention as float32; None: neither is there."""
    found = [vectors[name] for name in SUMS if name in vectors]
    if not found:
        return None
    if len(found) == 1 or any(one.dtype.kind != "f" for one in found):
        raise UserError(
            f"{source}: {' and '.join(SUMS)} belong together, as floating-point numbers; give "
            "both or neither"
        )
    with np.errstate(over="ignore"):  # the writer refuses what is not finite
        return found[0].astype(np.float32), found[1].astype(np.float32)


def _read(source: str | Path) -> dict[str, Array]:
    """Read the arrays; nothing in the file is run, objects (pickles) are refused."""
    path = local_path(source)
    if not path.is_file():
        raise UserError(f"{source}: no such file; give an .npz file of arrays")
    with path.open("rb") as stream:
        # numpy and zipfile raise errors of a dozen kinds for what is not an archive of arrays
        try:
            file = np.load(stream, allow_pickle=False)
            names = getattr(file, "files", None)
            arrays = {name: file[name] for name in (*REQUIRED, *OPTIONAL) if name in (names or ())}
            if names is not None:
                _check_others(file.zip, arrays)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{source}: not a readable .npz file ({reason}); write it again"
            ) from error
    if names is None:
        raise UserError(f"{source}: one array, not an .npz of several; use np.savez")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UserError(
            f"{source}: array {', '.join(missing)} missing; "
            f"{nearest(missing[0], names).replace('known', 'found')}"
        )
    foreign = [name for name, one in arrays.items() if not isinstance(one, np.ndarray)]
    if foreign:
        raise UserError(f"{source}: {foreign[0]} is not an array; write the file with np.savez")
    return arrays


def _check_others(archive: ZipFile, arrays: Mapping[str, Array]) -> None:
    """Read the members that are not our arrays: one flipped bit of a name makes one."""
    for member in archive.namelist():
        if member.removesuffix(".npy") not in arrays:
            with archive.open(member) as stream:
                while stream.read(1 << 20):
                    pass


def _dtype(arrays: Mapping[str, Array], source: str | Path) -> str:
    stated = str(arrays["dtype"])[:40] if "dtype" in arrays else str(arrays["query"].dtype)
    if stated not in ITEM_BYTES:
        raise UserError(
            f"{source}: vectors are {stated}, allowed: {', '.join(ITEM_BYTES)} (bfloat16 as uint16 "
            'with an array dtype = "bfloat16"); convert them'
        )
    return stated
