"""One finished part as bytes: a line of JSON that says what follows, then the arrays, compressed.

Plain on purpose: a sweep writes and reads hundreds of thousands of these, and a general container
costs more than the numbers in it. Workers make the bytes, so that their parent only hands them on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from pimreplay.replay.kv_head import HeadFailure, HeadResult, Job, answer

FORMAT = 3
MATRICES = ("lane_tokens", "channel_cycles", "hidden_cycles", "selected", "blocks")
"""Arrays of a result beside its columns; the last two only where selections are kept."""

Unit = tuple[int, int, int]
"""(number of the point, layer, kv_head): the smallest part of a result."""


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part on its way to the tables."""

    unit: Unit
    data: bytes


def finish(job: Job) -> list[Part | HeadFailure]:
    """Do one job in a worker; what it measured comes back as bytes."""
    return [encode(one) if isinstance(one, HeadResult) else one for one in answer(job)]


def encode(result: HeadResult) -> Part:
    """Return a result as bytes."""
    known = {name: value for name, value in result.values.items() if value is not None}
    # columns of one type lie together, so that reading them back is one step and not forty
    dtypes = sorted({array.dtype.str for array in known.values()})
    columns = {dtype: [n for n, one in known.items() if one.dtype.str == dtype] for dtype in dtypes}
    blocks = [(dtype, np.stack([known[name] for name in columns[dtype]])) for dtype in dtypes]
    given = [(name, getattr(result, name)) for name in MATRICES]
    blocks += [(name, array) for name, array in given if array is not None]
    body = b"".join(array.tobytes() for _, array in blocks)
    head = {
        "format": FORMAT,
        "dense_layer": result.dense_layer,
        "columns": columns,
        "unknown": [name for name, value in result.values.items() if value is None],
        "arrays": {name: [array.dtype.str, array.shape] for name, array in blocks},
        "bytes": len(body),
    }
    packed: bytes = pa.compress(body, codec="zstd", asbytes=True)
    unit = (result.point, result.layer, result.kv_head)
    return Part(unit, json.dumps(head).encode() + b"\n" + packed)


def decode(part: Part) -> HeadResult:
    """Return the result that `encode` was given.

    Raises:
        ValueError: the bytes are not that, or not all of it.
    """
    try:
        return _decoded(part)
    except Exception as error:  # bytes of unknown origin may fail in any way
        raise ValueError(str(error)) from error


def _decoded(part: Part) -> HeadResult:
    line, _, packed = part.data.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']}")
    body = pa.decompress(packed, decompressed_size=head["bytes"], codec="zstd", asbytes=True)
    arrays = dict(_arrays(head["arrays"], body))
    values: dict[str, np.ndarray | None] = dict.fromkeys(head["unknown"])
    for dtype, names in head["columns"].items():
        values.update(zip(names, arrays[dtype], strict=True))
    point, layer, kv_head = part.unit
    return HeadResult(
        point=point,
        layer=layer,
        kv_head=kv_head,
        dense_layer=head["dense_layer"],
        values=values,
        lane_tokens=arrays["lane_tokens"],
        channel_cycles=arrays["channel_cycles"],
        hidden_cycles=arrays["hidden_cycles"],
        selected=arrays.get("selected"),
        blocks=arrays.get("blocks"),
    )


def _arrays(
    shapes: dict[str, tuple[str, list[int]]], body: bytes
) -> Iterator[tuple[str, np.ndarray]]:
    offset = 0
    for name, (dtype, shape) in shapes.items():
        array = np.frombuffer(body, dtype, prod(shape), offset).reshape(shape)
        offset += array.nbytes
        yield name, array
