"""HBM-PIM: products of a matrix in the banks and a vector in registers, tile by tile.

Keys: a tile is 64 tokens, a block 8 of them, one a unit. Values `transposed`: a part is 128 tokens,
a block 16 of them, the lanes. Values `by_token`: a block is one token, a column of all units, and 8
are multiplied for an upload of scalars. Every step runs the sparse loop: the query is uploaded
once, only touched blocks are read. Source: SAITPublic/PIMSimulator @ b464dde, as measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from pimreplay.command_sets import hbm_pim as commands
from pimreplay.command_sets.hbm_pim.memory import (
    ACT,
    BANKS,
    COLUMNS,
    ENTER_ROW,
    GRF_A,
    LEAVE_ROW,
    PARK_ROW,
    REGISTER_ROW,
    ROWS,
    SCALARS,
)
from pimreplay.command_sets.hbm_pim.requests import COLUMN, ROW
from pimreplay.cost.mapping import BoolArray, Region
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import IntArray
from pimreplay.hardware.device import Device
from pimreplay.hardware.product import Product, Tables
from pimreplay.mappings import _hbm_pim_requests as made
from pimreplay.mappings._hbm_pim_closed_form import (
    PART_BLOCKS,
    ROW_BLOCKS,
    ROW_TOKENS,
    Counted,
    key_times,
    token_times,
    value_times,
    with_refreshes,
)
from pimreplay.mappings._products import (
    COLUMN_BYTES,
    ProductMapping,
    clocked_product,
    fidelities_agree,
    no_energy,
    same_capacity,
)

VALUES = ("transposed", "by_token")
_TABLES = Tables(
    needed={"organisation": ("channels", "channel_bytes")},
    known={},
    choices={"values": VALUES},
    own=("timing",),
)


@dataclass(frozen=True, slots=True)
class HbmPim(ProductMapping):
    """One KV head in one pseudo-channel of HBM-PIM."""

    row_banks: ClassVar[int] = made.UNITS
    phases: ClassVar[dict[str, str]] = {
        "score": "keys",
        "softmax": "softmax (on the host, not counted)",
        "context": "values",
        "move": "changes of mode, and readout",
    }

    def __post_init__(self) -> None:
        """Refuse elements that the units do not multiply, and a head that values cannot hold."""
        ProductMapping.__post_init__(self)
        if self.by_token:
            made.check_by_token(self.head_dim)

    @classmethod
    def read_device(cls, path: Path, values: dict[str, Any]) -> Product:
        """Return the device that a file's content describes."""
        return clocked_product("hbm_pim", _TABLES, path, values)

    @classmethod
    def check(cls, device: Device) -> list[Check]:
        """Check capacity, and the closed forms against the command set."""
        row_bytes = COLUMNS * COLUMN_BYTES
        return [
            same_capacity(device, BANKS * ROWS * row_bytes),
            fidelities_agree(cls(cast(Product, device), 128, 16)),
            no_energy(device),
        ]

    @property
    def by_token(self) -> bool:
        """Whether a token's value is a column, instead of a lane of many."""
        return dict(self.device.options).get("values", VALUES[0]) == "by_token"

    @property
    def keys(self) -> Region:
        """A token a unit."""
        return Region(made.KEY_BLOCK, made.ACCUMULATORS)

    @property
    def values(self) -> Region:
        """A token a lane, or a column a token."""
        return Region(1, ROW_TOKENS) if self.by_token else Region(made.VALUE_BLOCK, ROW_BLOCKS)

    def analytic(self, keys: BoolArray, values: BoolArray) -> IntArray:
        """Count one query head's steps in closed form."""
        self._check_rows(keys.shape[1], values.shape[1])
        timing, changing = self.device.timing, mode_cycles(self.device.timing)
        value_form = token_times if self.by_token else value_times
        counted = (
            key_times(timing, self.head_dim).count(keys),
            value_form(timing, self.head_dim).count(values),
        )
        own, move = [], np.zeros(len(keys), dtype=np.int64)
        for one in counted:
            alone, total = with_refreshes(one, timing)
            mode = changing * (one.blocks > 0)
            own.append(alone - mode)
            move += mode + total - alone
        rows = [one.rows for one in counted]
        macs, moves = self._macs_and_moves(*counted)
        return np.array([*own, move, *rows, macs, moves])

    def _check_rows(self, key_blocks: int, value_blocks: int) -> None:
        """Raise `UserError` where the regions would reach the results' rows."""
        tiles = -(-key_blocks // made.ACCUMULATORS) * -(-self._key_parts // 2)
        made.check_rows(made.TILE_COLUMNS * (tiles - 1))
        if self.by_token:
            made.check_rows((value_blocks - 1) // 2)
        else:
            tiles = -(-value_blocks // (2 * PART_BLOCKS)) * self._value_tiles
            made.check_rows(made.TILE_COLUMNS * (tiles - 1))

    def _macs_and_moves(self, keys: Counted, values: Counted) -> tuple[IntArray, IntArray]:
        """Count MACs, and operands written, results written and results read."""
        parts, tiles = self._key_parts, self._value_tiles
        uploads = keys.rows // (2 * parts) * parts if parts > 1 else (keys.blocks > 0).astype(int)
        key_moves = made.REGISTERS * uploads + keys.blocks * (1 + made.UNITS)
        key_macs = keys.blocks * made.REGISTERS * parts
        results = (1 + made.UNITS) * (values.blocks > 0)
        if self.by_token:
            uploads = -(-values.blocks // made.REGISTERS)
            return key_macs + values.blocks, key_moves + uploads + results
        value_moves = (values.blocks + made.ACCUMULATORS * results) * tiles
        return key_macs + values.blocks * made.ACCUMULATORS * tiles, key_moves + value_moves

    @property
    def _key_parts(self) -> int:
        return -(-self.head_dim // made.TILE_INPUTS)

    @property
    def _value_tiles(self) -> int:
        return -(-self.head_dim // made.TILE_OUTPUTS)

    def _keys_sent(self, blocks: IntArray) -> tuple[Any, int]:
        """Return the requests for scores, and where their readout begins."""
        return made.key_requests(blocks, self.head_dim)

    def _values_sent(self, blocks: IntArray) -> tuple[Any, int]:
        """Return the requests for the result, and where its readout begins."""
        if self.by_token:
            return made.value_requests_by_token(blocks, self.head_dim)
        tokens = (int(blocks[-1]) + 1) * made.VALUE_BLOCK
        return made.value_requests(blocks, tokens, self.head_dim)

    def scheduled(self, key_blocks: IntArray, value_blocks: IntArray) -> tuple[int, ...]:
        """Count one query head's step as the command set runs it."""
        changing, timing = mode_cycles(self.device.timing), self.device.timing
        own, rows, move, macs, moves = [0, 0], [0, 0], 0, 0, 0
        for place, (blocks, make) in enumerate(
            ((key_blocks, self._keys_sent), (value_blocks, self._values_sent))
        ):
            if not len(blocks):
                continue
            requests, kernel = make(blocks)
            end = commands.simulate(requests, timing).cycles
            alone = commands.simulate(requests[:kernel], timing).cycles
            own[place] = alone - changing
            move += changing + end - alone
            log = commands.commands_of(requests, timing)
            data = log[:, 4] < made.RESULT_ROW
            rows[place] = int((data & (log[:, 1] == ACT)).sum())
            row, column = requests[:, ROW], requests[:, COLUMN]
            macs += int((row < made.RESULT_ROW).sum())
            operand = (row == REGISTER_ROW) & ((column == SCALARS) | (column >= GRF_A))
            result = (row >= made.RESULT_ROW) & (row < PARK_ROW)
            moves += int((operand | result).sum())
        return (*own, move, *rows, macs, moves)

    def requests(
        self, keys: BoolArray, values: BoolArray, q_heads: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the requests of every query head in order."""
        for own, other in zip(keys, values, strict=True):
            for blocks, make in ((own, self._keys_sent), (other, self._values_sent)):
                requests = make(np.flatnonzero(blocks))[0] if blocks.any() else np.empty((0, 7))
                for write, _, bank, row, column, _, _ in requests.astype(int).tolist():
                    word = "write" if write else "read"
                    scores = made.RESULT_ROW <= row < PARK_ROW
                    reserved = "results" if scores else _RESERVED.get(row)
                    yield (
                        f"{word} {reserved}" if reserved else word,
                        f"bank {bank} row {row} column {column}",
                    )

    def kv_head_bytes(self, tokens: int) -> int:
        """Return the bytes of the rows of eight banks each."""
        tiles = -(-tokens // made.TILE_OUTPUTS)
        rows = 2 * tiles * self._key_parts
        if self.by_token:
            rows += 2 * -(-tokens // ROW_TOKENS)
        else:
            rows += 2 * -(-tokens // made.TILE_INPUTS) * self._value_tiles
        return rows * made.UNITS * COLUMNS * COLUMN_BYTES

    def attention(self, tokens: int, read: Any, *, refresh: bool) -> dict[str, Any]:
        """Return cycles by phase and commands of one query head's attention.

        All tokens (`read` None): the library's own products, each waited for before its results
        are read. Otherwise only touched blocks are read, and the host reads results as they come.
        """
        timing = self.device.timing
        if read is None:
            sent = [made.library_requests(tokens, self.head_dim)]
            every = np.arange(tokens)
            sent.append(
                made.value_requests_by_token(every, self.head_dim)
                if self.by_token
                else made.library_requests(self.head_dim, tokens)
            )
            touched = [-(-tokens // region.block_tokens) for region in (self.keys, self.values)]
        else:
            blocks = [
                np.unique(np.asarray(read) // region.block_tokens)
                for region in (self.keys, self.values)
            ]
            sent = [self._keys_sent(blocks[0]), self._values_sent(blocks[1])]
            touched = [len(one) for one in blocks]
        changing = mode_cycles(timing)
        phases = {"keys": 0, "values": 0, "mode": 2 * changing, "readout": 0}
        regions = {}
        for name, (requests, kernel), count in zip(("keys", "values"), sent, touched, strict=True):
            stops = [kernel, len(requests)] if read is None else [len(requests)]
            ends, issued = commands.phases(requests, stops, timing, refresh=refresh)
            alone, _ = commands.phases(requests[:kernel], [kernel], timing, refresh=refresh)
            phases[name] = int(alone[-1]) - changing
            phases["readout"] += int(ends[-1] - alone[-1])
            regions[name] = {
                "cycles": int(ends[-1]),
                "kernel_cycles": int(alone[-1]),
                "blocks": count,
                "commands": dict(zip(commands.COMMANDS, issued.tolist(), strict=True)),
            }
        return {"phases": phases, "regions": regions}


_RESERVED = {
    ENTER_ROW: "to enter all-bank mode",
    LEAVE_ROW: "to leave all-bank mode",
    REGISTER_ROW: "registers",
    PARK_ROW: "to park",
}


@lru_cache(maxsize=16)
def mode_cycles(timing: commands.Timing) -> int:
    """Return the cycles of entering and leaving all-bank mode, programs and parking included."""
    return commands.simulate(made.mode_requests(), timing, refresh=False).cycles
