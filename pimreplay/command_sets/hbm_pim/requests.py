"""Request files of HBM-PIM: reads and writes of one pseudo-channel, and barriers."""

from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.command_sets import request_lines
from pimreplay.command_sets.hbm_pim.memory import BANKS, COLUMNS, ROWS
from tracegen.base.errors import UserError

WRITE, RANK, BANK, ROW, COLUMN, DATA, BARRIER = range(7)
"""Columns of a table of requests."""


def read_requests(path: Path) -> Any:
    """Read a request file: (requests, 7), see the names of the columns above.

    A line is `R` or `W`, bank, row, column and, for a write, the first byte of its data; or `B`, a
    barrier behind the request before it.

    Raises:
        UserError: the file cannot be read, or a line is not such a request.
    """
    return parse_requests(str(path), request_lines(path))


def parse_requests(where: str, lines: list[str]) -> Any:
    """Return the table of the requests in `lines`."""
    requests: list[list[int]] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if words == ["B"]:
            if requests:  # a barrier before everything holds nothing back
                requests[-1][BARRIER] = 1
            continue
        if words[0] not in ("R", "W") or len(words) not in (4, 5):
            raise UserError(
                f"{where}, line {number}: {line!r} is not a request; "
                "write `R BANK ROW COLUMN`, `W BANK ROW COLUMN [FIRST_BYTE]` or `B`"
            )
        try:
            bank, row, column, *data = (int(word, 0) for word in words[1:])
        except ValueError:
            raise UserError(
                f"{where}, line {number}: {line!r}: bank, row and column are whole numbers"
            ) from None
        for name, value, limit in (
            ("bank", bank, BANKS),
            ("row", row, ROWS),
            ("column", column, COLUMNS),
        ):
            if not 0 <= value < limit:
                raise UserError(
                    f"{where}, line {number}: {name} {value} must be at least 0 and below {limit}"
                )
        requests.append([int(words[0] == "W"), 0, bank, row, column, data[0] if data else 0, 0])
    if not requests:
        raise UserError(f"{where}: has no requests; write one a line")
    return np.array(requests, dtype=np.int64)
