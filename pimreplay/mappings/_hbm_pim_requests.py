"""The requests of HBM-PIM's products: a matrix in the banks, a vector in registers, tile by tile.

A tile is 64 outputs (8 units with 8 accumulators each) by 128 inputs (8 registers of 16 lanes), 64
MACs in two rows of the even or of the odd banks. Keys: outputs are tokens, a block is 8 of them,
one a unit. Values `transposed`: inputs are tokens, a block is 16 of them, the lanes. Values
`by_token`: a column of all units is one token's value, multiplied by a scalar; 8 scalars an upload,
tokens alternate between even and odd banks. The host adds up lanes: it reads 32 bytes an output.

Source: sequences of SAITPublic/PIMSimulator @ b464dde as measured; the code here is our own.
"""

from typing import Any

import numpy as np

from pimreplay.command_sets.hbm_pim.memory import (
    BANKS,
    BANKS_OF_MODE_CHANGE,
    COLUMNS,
    ENTER_ROW,
    GRF_A,
    GROUP_BANKS,
    LEAVE_ROW,
    MODE_COLUMN,
    PARK_ROW,
    PROGRAM,
    REGISTER_ROW,
    SCALARS,
)
from pimreplay.command_sets.hbm_pim.requests import BARRIER
from tracegen.base.errors import UserError

UNITS, ACCUMULATORS, REGISTERS, LANES = 8, 8, 8, 16
TILE_OUTPUTS = UNITS * ACCUMULATORS
TILE_INPUTS = REGISTERS * LANES
TILE_COLUMNS = ACCUMULATORS * REGISTERS
KEY_BLOCK, VALUE_BLOCK = UNITS, LANES
RESULT_ROW = 1000
"""First row of results in the odd banks."""
EVEN, ODD = 0, 1
_ON, _OFF = 3, 2


class _Requests:
    """Builds a table of requests of one pseudo-channel."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def add(self, write: int, bank: int, row: int, column: int, data: int = 0) -> None:
        """Add a request; columns beyond a row lie in the rows behind it."""
        row, column = row + column // COLUMNS, column % COLUMNS
        self.rows.append([write, 0, bank, row, column, data, 0])

    def read(self, bank: int, row: int, columns: Any) -> None:
        """Read columns, then a barrier."""
        for column in columns:
            self.add(0, bank, row, column)
        self.barrier()

    def write(self, bank: int, row: int, columns: Any, data: int = 0) -> None:
        """Write columns, then a barrier."""
        for column in columns:
            self.add(1, bank, row, column, data)
        self.barrier()

    def barrier(self) -> None:
        """Hold what follows back until all before it is done."""
        self.rows[-1][BARRIER] = 1

    def park(self) -> None:
        """Open the same row in all banks, group by group."""
        for bank in range(GROUP_BANKS):
            for group in range(BANKS // GROUP_BANKS):
                self.add(0, group * GROUP_BANKS + bank, PARK_ROW, 0)
        self.barrier()

    def enter(self, program_words: int) -> None:
        """Enter all-bank mode and load the units' program."""
        self.park()
        for bank in BANKS_OF_MODE_CHANGE:
            self.add(1, bank, ENTER_ROW, COLUMNS - 1)
        self.barrier()
        self.write(ODD, REGISTER_ROW, range(PROGRAM, PROGRAM + program_words))

    def leave(self) -> None:
        """Leave all-bank mode."""
        for bank in (EVEN, ODD):
            self.add(1, bank, LEAVE_ROW, COLUMNS - 1)
        self.barrier()
        self.park()

    def compute(self, on: bool) -> None:
        """Let reads execute the program, or not."""
        self.write(EVEN, REGISTER_ROW, [MODE_COLUMN], _ON if on else _OFF)

    def results(self, row: int, columns: Any) -> None:
        """Let the host read results of all units: their odd banks, one after the other."""
        for unit in range(UNITS):
            for column in columns:
                self.add(0, 2 * unit + ODD, row, column)

    def table(self) -> Any:
        """Return the requests (requests, 7)."""
        return np.array(self.rows, dtype=np.int64)


def library_requests(outputs: int, inputs: int) -> tuple[Any, int]:
    """Return the library's dense product and where its requests end and the host's reads begin.

    As the library has it: even tiles first, inputs uploaded for every tile; with an odd number of
    input tiles two output tiles share columns, which its address arithmetic does.
    """
    requests = _Requests()
    requests.enter(program_words=1)
    tiles, parts = -(-outputs // TILE_OUTPUTS), -(-inputs // TILE_INPUTS)
    end = tiles * parts // 2 * TILE_COLUMNS
    for tile in range(tiles):
        requests.compute(on=True)
        for part in (*range(0, parts, 2), *range(1, parts, 2)):
            requests.write(ODD, REGISTER_ROW, range(GRF_A, GRF_A + REGISTERS))
            first = TILE_COLUMNS * (part // 2 + tile * parts // 2)
            for group in range(first, first + TILE_COLUMNS, ACCUMULATORS):
                requests.read(part % 2, 0, range(group, group + ACCUMULATORS))
        at = end + tile * ACCUMULATORS
        requests.write(ODD, 0, range(at, at + ACCUMULATORS))
        requests.compute(on=False)
    requests.leave()
    kernel = len(requests.rows)
    for tile in range(tiles):
        at = end + tile * ACCUMULATORS
        requests.results(0, range(at, at + ACCUMULATORS))
    return requests.table(), kernel


def key_requests(blocks: Any, head_dim: int, *, every_tile: bool = False) -> tuple[Any, int]:
    """Return the requests for the scores of the touched blocks, and where the host's reads begin.

    `every_tile` uploads the query for every tile and reads all its results, as the library does;
    otherwise the query is uploaded once and only what was computed is read.
    """
    parts = -(-head_dim // TILE_INPUTS)
    requests = _Requests()
    requests.enter(program_words=1)
    blocks = np.asarray(blocks)
    tiles = np.unique(blocks // ACCUMULATORS)
    kept: list[list[int]] = []
    for tile in tiles.tolist():
        units = (blocks[blocks // ACCUMULATORS == tile] % ACCUMULATORS).tolist()
        requests.compute(on=True)
        for part in (*range(0, parts, 2), *range(1, parts, 2)):
            if every_tile or parts > 1 or tile == tiles[0]:
                requests.write(ODD, REGISTER_ROW, range(GRF_A, GRF_A + REGISTERS))
            first = TILE_COLUMNS * (tile * -(-parts // 2) + part // 2)
            check_rows(first)
            for group in range(REGISTERS):
                requests.read(part % 2, 0, [first + group * ACCUMULATORS + one for one in units])
        outputs = range(ACCUMULATORS) if every_tile else units
        kept.append([tile * ACCUMULATORS + one for one in outputs])
        requests.write(ODD, RESULT_ROW, kept[-1])
        requests.compute(on=False)
    requests.leave()
    kernel = len(requests.rows)
    for columns in kept:
        requests.results(RESULT_ROW, columns)
    return requests.table(), kernel


def value_requests(blocks: Any, tokens: int, head_dim: int) -> tuple[Any, int]:
    """Return the requests for the result over the touched blocks of transposed values."""
    requests = _Requests()
    requests.enter(program_words=1)
    per_tile = TILE_INPUTS // VALUE_BLOCK
    blocks = np.asarray(blocks)
    parts = -(-tokens // TILE_INPUTS)
    tiles = -(-head_dim // TILE_OUTPUTS)
    touched = np.unique(blocks // per_tile).tolist()
    for tile in range(tiles):
        requests.compute(on=True)
        for part in (*(p for p in touched if p % 2 == 0), *(p for p in touched if p % 2)):
            inner = (blocks[blocks // per_tile == part] % per_tile).tolist()
            requests.write(ODD, REGISTER_ROW, [GRF_A + one for one in inner])
            first = TILE_COLUMNS * (part // 2 + tile * -(-parts // 2))
            check_rows(first)
            for one in inner:
                at = first + one * ACCUMULATORS
                requests.read(part % 2, 0, range(at, at + ACCUMULATORS))
        at = tile * ACCUMULATORS
        requests.write(ODD, RESULT_ROW, range(at, at + ACCUMULATORS))
        requests.compute(on=False)
    requests.leave()
    kernel = len(requests.rows)
    for tile in range(tiles):
        requests.results(RESULT_ROW, range(tile * ACCUMULATORS, (tile + 1) * ACCUMULATORS))
    return requests.table(), kernel


def value_requests_by_token(read: Any, head_dim: int) -> tuple[Any, int]:
    """Return the requests for the result over single tokens (tokens read,), ascending."""
    check_by_token(head_dim)
    read = np.asarray(read)
    requests = _Requests()
    requests.enter(program_words=2)
    requests.compute(on=True)
    for parity in (EVEN, ODD):
        own = (read[read % 2 == parity] // 2).tolist()
        for first in range(0, len(own), REGISTERS):
            columns = own[first : first + REGISTERS]
            check_rows(max(columns))
            # through the other banks, so that the values' row stays open
            requests.write(1 - parity, REGISTER_ROW, [SCALARS])
            requests.read(parity, 0, columns)
    requests.write(ODD, RESULT_ROW, [0])
    requests.compute(on=False)
    requests.leave()
    kernel = len(requests.rows)
    requests.results(RESULT_ROW, [0])
    return requests.table(), kernel


def check_by_token(head_dim: int) -> None:
    """Raise `UserError` where a column of all units does not hold a token's value."""
    if head_dim > UNITS * LANES:
        raise UserError(
            f"hbm_pim: head_dim {head_dim} does not fit values by token, which hold at most "
            f"{UNITS * LANES} elements; use values = 'transposed'"
        )


def mode_requests() -> Any:
    """Return the requests that enter and leave all-bank mode and do nothing in it."""
    mode = _Requests()
    mode.enter(program_words=1)
    mode.leave()
    return mode.table()


def park_requests() -> Any:
    """Return the requests that open the same row in all banks."""
    parking = _Requests()
    parking.park()
    return parking.table()


def check_rows(column: int) -> None:
    """Raise `UserError` where a tile that begins in a column would reach the results' rows."""
    if column + TILE_COLUMNS > RESULT_ROW * COLUMNS:
        raise UserError(
            f"hbm_pim: the tokens need more than the {RESULT_ROW} rows of a KV head; use fewer"
        )
