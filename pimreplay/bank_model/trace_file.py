"""Reading command traces, plain or gzip, chunk by chunk: any length in bounded memory."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pimreplay.bank_model import parser as _parser
from pimreplay.bank_model.commands import REQUEST_WORDS, AddressMap, Requests
from tracegen.base.errors import UserError, nearest

CHUNK_BYTES = 1 << 16
"""Small, so that buffers are used again: larger ones are fresh pages of the system each time."""
MOST_LINE_BYTES = 4096
_GZIP = b"\x1f\x8b"


class _DamagedError(Exception):
    """A packed file that cannot be unpacked to its end."""


def read_trace(path: Path, address_map: AddressMap) -> Iterator[Requests]:
    """Yield the requests of a trace in chunks.

    Raises `UserError` with the file, the line, what was found and what is allowed: for a file
    that is missing, empty or cut short, a line that is no request, an address beyond the device.
    """
    table = _parser.word_table()
    most = CHUNK_BYTES // 5 + 1  # no request is shorter than "LD 0\n"
    kinds = np.empty(most, dtype=np.uint8)
    addresses = np.empty(most, dtype=np.int64)
    line = 1
    rest = b""
    chunks = _text(path)
    while True:
        try:
            chunk = next(chunks, None)
        except _DamagedError as damage:
            raise UserError(
                f"{path}, line {line}: {damage} ({line - 1:,} whole lines before that); "
                "get or write the file again"
            ) from None
        if chunk is None:
            break
        data = b"".join((rest, chunk, bytes(_parser.SPARE_BYTES)))
        text, end = np.frombuffer(data, dtype=np.uint8), len(data) - _parser.SPARE_BYTES
        start = 0
        while True:
            n, used, why = _parser.parse(
                text[start:], table, address_map.total_bits, kinds, addresses
            )
            if n:
                line += n
                yield Requests(kinds[:n].copy(), addresses[:n].copy())
            start += used
            if why != _parser.FULL:
                content = data[start : min(end, start + MOST_LINE_BYTES)].split(b"\n")[0]
                raise _refusal(path, line, content, why, address_map)
            if n < most:
                break
        rest = data[start:end]
        if len(rest) > MOST_LINE_BYTES:
            raise UserError(
                f"{path}, line {line}: no line end within {MOST_LINE_BYTES} bytes; "
                "a trace has one request a line"
            )
    if line == 1:
        raise UserError(f"{path}: holds no request; give a trace with at least one line")


def _refusal(path: Path, line: int, content: bytes, why: int, address_map: AddressMap) -> UserError:
    text = content.decode("utf-8", "replace").strip("\r")
    shown = text if len(text) <= 60 else text[:57] + "..."
    where = f"{path}, line {line}: found {shown!r}"
    word = text.split(maxsplit=1)[0] if text.split() else ""
    if why == _parser.OUTSIDE:
        return UserError(
            f"{where}: the address is outside the device, which ends at "
            f"{(1 << address_map.total_bits) - 1:#x}; check --org"
        )
    if why == _parser.BAD_WORD and word not in REQUEST_WORDS:
        return UserError(f"{where}: no request; {nearest(word, REQUEST_WORDS)}")
    return UserError(
        f"{where}: no request and address; allowed is one of {', '.join(REQUEST_WORDS)}, "
        "a space, and an address in hexadecimal (0x...) or decimal"
    )


def _text(path: Path) -> Iterator[bytes]:
    """Yield the text of a file, unpacked; the last piece ends with a line end."""
    last = b"\n"
    for piece in _unpacked(path):
        if piece:
            last = piece[-1:]
            yield piece
    if last != b"\n":
        yield b"\n"


def _unpacked(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a trace") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of a trace file") from None
    with file:
        data = file.read(CHUNK_BYTES)
        if not data:
            raise UserError(f"{path}: the file is empty; give a trace with at least one line")
        packed = data.startswith(_GZIP)
        if path.suffix == ".gz" and not packed:
            raise UserError(f"{path}: is named .gz but is no gzip file; rename or compress it")
        if packed:
            yield from _unzipped(file, data)
        while not packed and data:
            yield data
            data = file.read(CHUNK_BYTES)


def _unzipped(file: BinaryIO, data: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    while data or unpacker.unconsumed_tail:
        try:
            yield unpacker.decompress(unpacker.unconsumed_tail + data, CHUNK_BYTES)
        except zlib.error as error:
            raise _DamagedError(f"the gzip file is damaged from here on: {error}") from None
        data = b""
        if unpacker.eof:
            data = unpacker.unused_data or file.read(CHUNK_BYTES)
            if data and not data.strip(b"\0"):
                return  # padding
            if data:
                unpacker = zlib.decompressobj(wbits=31)  # members follow each other
            continue
        if not unpacker.unconsumed_tail:
            data = file.read(CHUNK_BYTES)
    if not unpacker.eof:
        raise _DamagedError("the gzip file is cut short here")
