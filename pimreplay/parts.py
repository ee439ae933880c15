"""One finished part as bytes: a line of JSON that says what follows, then the arrays, compressed.

Plain on purpose: a sweep writes and reads hundreds of thousands of these, and a general container
costs more than the numbers in it.
"""

import json
import zlib
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from pimreplay.replay import HeadResult

FORMAT = 1
MATRICES = ("lane_tokens", "channel_cycles", "hidden_cycles")


def encode_part(result: HeadResult) -> bytes:
    """Return a part as bytes; its selections, if any, are not kept."""
    arrays = {name: value for name, value in result.values.items() if value is not None}
    arrays |= {name: getattr(result, name) for name in MATRICES}
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    head = {
        "format": FORMAT,
        "dense_layer": result.dense_layer,
        "unknown": [name for name, value in result.values.items() if value is None],
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
        "bytes": len(body),
        "crc32": zlib.crc32(body),
    }
    packed: bytes = pa.compress(body, codec="zstd", asbytes=True)
    return json.dumps(head).encode() + b"\n" + packed


def decode_part(data: bytes, unit: tuple[int, int, int]) -> HeadResult:
    """Return the part that `encode_part` wrote.

    Raises:
        ValueError: the bytes are not that, or not all of it.
    """
    line, _, packed = data.partition(b"\n")
    try:
        head: dict[str, Any] = json.loads(line)
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']}")
        body = pa.decompress(packed, decompressed_size=head["bytes"], codec="zstd", asbytes=True)
        if zlib.crc32(body) != head["crc32"]:
            raise ValueError("wrong checksum")
    except (KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error
    arrays: dict[str, np.ndarray] = {}
    offset = 0
    for name, (dtype, shape) in head["arrays"].items():
        count = prod(shape)
        arrays[name] = np.frombuffer(body, dtype, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    lane_tokens, channel_cycles, hidden_cycles = (arrays.pop(name) for name in MATRICES)
    return HeadResult(
        point=unit[0],
        layer=unit[1],
        kv_head=unit[2],
        dense_layer=head["dense_layer"],
        values={**arrays, **dict.fromkeys(head["unknown"])},
        lane_tokens=lane_tokens,
        channel_cycles=channel_cycles,
        hidden_cycles=hidden_cycles,
    )
