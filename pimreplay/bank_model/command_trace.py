"""Reading command traces, plain or gzip, chunk by chunk: any length in bounded memory."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model import parser as _parser
from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from tracegen.base.errors import UserError, nearest

CHUNK_BYTES = 1 << 16
"""Small, so that buffers are used again: larger ones are fresh pages of the system each time."""
MOST_LINE_BYTES = 4096
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _DamagedError(Exception):
    """A packed file that cannot be unpacked to its end."""


def read_command_trace(path: Path, address_map: AddressMap) -> Iterator[Requests]:
    """Yield the requests of a command trace in chunks.

    Raises `UserError` with the file, the line, what was found and what is allowed: for a file
    that is missing, empty or cut short, a line that is not a request, an address that no part of
    the device has.
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
            n, used, why = _parser.parse(text[start:], table, address_map.end, kinds, addresses)
            if n:
                _refuse_outside(path, line, addresses[:n], address_map)
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
                "a command trace has one request a line"
            )
    if line == 1:
        raise UserError(f"{path}: holds no request; give a command trace with at least one line")


def _refusal(path: Path, line: int, content: bytes, why: int, address_map: AddressMap) -> UserError:
    text = content.decode("utf-8", "replace").strip("\r")
    shown = text if len(text) <= 60 else text[:57] + "..."
    where = f"{path}, line {line}: found {shown!r}"
    word = text.split(maxsplit=1)[0] if text.split() else ""
    if why == _parser.OUTSIDE:
        return UserError(
            f"{where}: the address is outside the device, which ends at "
            f"{address_map.end - 1:#x}; check --org"
        )
    if why == _parser.BAD_WORD and word not in REQUEST_WORDS:
        return UserError(f"{where}: not a request; {nearest(word, REQUEST_WORDS)}")
    return UserError(
        f"{where}: not a request and its address; allowed is one of {', '.join(REQUEST_WORDS)}, "
        "a space, and an address in hexadecimal (0x...) or decimal"
    )


def _refuse_outside(
    path: Path, line: int, addresses: NDArray[np.int64], address_map: AddressMap
) -> None:
    """Refuse an address of a rank that is not there; those beyond the end do not come so far."""
    if address_map.ranks == 1 << address_map.rank_bits:
        return
    outside = np.flatnonzero(address_map.outside(addresses))
    if len(outside):
        first = int(outside[0])
        raise UserError(
            f"{path}, line {line + first}: address {addresses[first]:#x} names rank "
            f"{address_map.ranks}; the device has {address_map.ranks} ranks, from 0; check --org"
        )


def _text(path: Path) -> Iterator[bytes]:
    """Yield the text of a file, unpacked, without a byte order mark; it ends with a line end."""
    first, last = True, b"\n"
    for piece in _unpacked(path):
        if not piece:
            continue
        text = piece.removeprefix(_BYTE_ORDER_MARK) if first else piece
        first = False
        if text:
            last = text[-1:]
            yield text
    if last != b"\n":
        yield b"\n"


def _unpacked(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a command trace") from None
    except IsADirectoryError:
        raise UserError(
            f"{path}: is a folder; give the path of a command trace, which is a file"
        ) from None
    with file:
        data = file.read(CHUNK_BYTES)
        if not data:
            raise UserError(
                f"{path}: the file is empty; give a command trace with at least one line"
            )
        packed = data.startswith(_GZIP)
        if path.suffix == ".gz" and not packed:
            raise UserError(f"{path}: is named .gz but is not a gzip file; rename or compress it")
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
