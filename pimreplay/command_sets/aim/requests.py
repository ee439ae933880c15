"""Request files of GDDR6-AiM, as the source's traces have them."""

from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.command_sets import request_lines
from pimreplay.command_sets.aim.commands import (
    AF,
    END,
    EWMUL,
    MAC,
    RDAF,
    RDMAC,
    SYNC,
    WRA,
    WRGB,
    WRMAC,
)
from tracegen.base.errors import UserError, nearest

CHANNELS = 32
ROWS = 16384
_FIELDS = {
    "MAC_ABK": (MAC, ("opsize", "mask", "row")),
    "AF": (AF, ("mask",)),
    "EWMUL": (EWMUL, ("opsize", "mask", "row")),
    "WR_ABK": (WRA, ("register", "mask", "row")),
    "WR_GB": (WRGB, ("opsize", "register", "mask")),
    "WR_BIAS": (WRMAC, ("register", "mask")),
    "RD_MAC": (RDMAC, ("register", "mask")),
    "RD_AF": (RDAF, ("register", "mask")),
    "SYNC": (SYNC, ()),
    "EOC": (END, ()),
}
LUT_ROW = 1 << 29
"""Row that an activation function's table lies in."""


def read_requests(path: Path) -> Any:
    """Read a request file: (requests, 4) of command, repeats, row, channel mask.

    A line is `AiM` and a request as the source's traces have it, for example
    `AiM MAC_ABK 8 1 0` (opsize, channel mask, row); the last one is `AiM EOC`.

    Raises:
        UserError: the file cannot be read, or a line is not such a request.
    """
    requests = [
        parse_request(f"{path}, line {number}", line)
        for number, line in enumerate(request_lines(path), 1)
        if line.strip()
    ]
    if not requests or requests[-1][0] != END or any(one[0] == END for one in requests[:-1]):
        raise UserError(f"{path}: must end with the one request `AiM EOC`; add it as last line")
    return np.array(requests, dtype=np.int64)


def parse_request(where: str, line: str) -> tuple[int, int, int, int]:
    """Return a line's command, repeats, row and channel mask."""
    words = line.split()
    if len(words) < 2 or words[0] != "AiM":
        raise UserError(f"{where}: {line!r} is not a request; it starts with `AiM` and its name")
    if words[1] not in _FIELDS:
        raise UserError(f"{where}: request {words[1]!r} is unknown; {nearest(words[1], _FIELDS)}")
    command, names = _FIELDS[words[1]]
    if len(words) - 2 != len(names):
        shape = " ".join(("AiM", words[1], *names))
        raise UserError(f"{where}: {line!r} has {len(words) - 2} numbers; write `{shape}`")
    values = {"opsize": 1, "row": 0, "mask": 1}
    for name, word in zip(names, words[2:], strict=True):
        try:
            values[name] = int(word, 0)
        except ValueError:
            raise UserError(f"{where}: {name} {word!r} is not a whole number") from None
    if values["opsize"] < 1:
        raise UserError(f"{where}: opsize {values['opsize']} must be at least 1")
    if not 0 <= values["row"] < ROWS:
        raise UserError(f"{where}: row {values['row']} must be at least 0 and below {ROWS}")
    if not 0 < values["mask"] < 1 << CHANNELS:
        raise UserError(
            f"{where}: channel mask {values['mask']} must name 1 to {CHANNELS} channels"
        )
    row = LUT_ROW if command == AF else values["row"]
    return command, values["opsize"], row, values["mask"]
