"""GDDR6-AiM: keys one token a bank, values transposed; scores and results leave after each block.

Keys: a block is 16 tokens, one a bank, `head_dim / 16` columns long; a row holds as many blocks as
fit (`packed`), or one (`row_of_16_tokens`, as CENT lays them out for all heads together). Values: a
bank holds the dimensions that are equal modulo 16, a row 1,024 tokens of each; a block is 16 tokens
(the lanes of a column). Source: arkhadem/aim_simulator @ 0f28a07; CENT, ASPLOS 2025.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from pimreplay.command_sets import Outcome, aim
from pimreplay.command_sets.aim.commands import (
    COMMANDS,
    END,
    MAC,
    RDMAC,
    WRGB,
    WRMAC,
    done_after,
    gaps,
)
from pimreplay.command_sets.aim.requests import ROWS
from pimreplay.cost.mapping import BoolArray, Region
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import IntArray
from pimreplay.hardware.device import Device
from pimreplay.hardware.product import Product, Tables
from pimreplay.mappings._products import (
    COLUMN_BYTES,
    ProductMapping,
    any_in,
    clocked_product,
    fidelities_agree,
    no_energy,
    same_capacity,
)
from tracegen.base.errors import UserError

BLOCK_TOKENS = 16
LANES = 16
BANKS = 16
ROW_COLUMNS = 64
WINDOW_TOKENS = ROW_COLUMNS * LANES
"""Tokens whose probabilities fill the global buffer, and a row of values."""
WINDOW_BLOCKS = WINDOW_TOKENS // BLOCK_TOKENS
KEYS = ("packed", "row_of_16_tokens")
_MASK = 1
_TABLES = Tables(
    needed={"organisation": ("channels", "channel_bytes")},
    known={"energy": ("activation_pj", "cell_pj_per_bit", "background_mw_per_channel")},
    choices={"keys": KEYS},
    own=("timing",),
)


@dataclass(frozen=True, slots=True)
class Aim(ProductMapping):
    """One KV head in one channel of GDDR6-AiM."""

    row_banks: ClassVar[int] = BANKS
    phases: ClassVar[dict[str, str]] = {
        "score": "keys",
        "softmax": "softmax (on the host, not counted)",
        "context": "values",
        "move": "changes of mode, and readout",
    }

    def __post_init__(self) -> None:
        """Refuse elements that the units do not multiply, and a head that no row holds."""
        ProductMapping.__post_init__(self)
        key_columns(self.head_dim)

    @classmethod
    def read_device(cls, path: Path, values: dict[str, Any]) -> Product:
        """Return the device that a file's content describes."""
        return clocked_product("aim", _TABLES, path, values)

    @classmethod
    def check(cls, device: Device) -> list[Check]:
        """Check capacity, and the closed forms against the command set."""
        return [
            same_capacity(device, BANKS * ROWS * ROW_COLUMNS * COLUMN_BYTES),
            fidelities_agree(cls(cast(Product, device), 128, 16)),
            no_energy(device),
        ]

    @property
    def keys(self) -> Region:
        """A token a bank."""
        per_row = ROW_COLUMNS // key_columns(self.head_dim) if self.layout == "packed" else 1
        return Region(BLOCK_TOKENS, per_row)

    @property
    def values(self) -> Region:
        """A token a lane of a column."""
        return Region(BLOCK_TOKENS, WINDOW_BLOCKS)

    @property
    def layout(self) -> str:
        """How keys lie, one of `KEYS`."""
        return dict(self.device.options).get("keys", KEYS[0])

    def analytic(self, keys: BoolArray, values: BoolArray) -> IntArray:
        """Count one query head's steps in closed form; see `docs/devices.md`.

        From block to block: a bias is written, the mode changes, the columns are multiplied, the
        mode changes back, the result is read. From row to row: a precharge and an activate.
        """
        t = self.device.timing
        columns, least = key_columns(self.head_dim), gaps(t)
        latency = int(done_after(t)[RDMAC])
        answer = max(int(least[RDMAC, WRMAC]), latency + 1)
        mac, write = int(least[MAC, MAC]), int(least[WRGB, WRGB])
        around = 1 + 2 * t.n_modch_cycles + answer
        row = t.n_rp_cycles + t.n_rcdrdmac_cycles
        # the first row needs no precharge; the first mode must be changed to
        edge = 1 + t.n_modch_cycles - t.n_rp_cycles + latency + 2 - answer
        blocks, some = keys.sum(axis=1), keys.any(axis=1)
        key_rows = any_in(keys, self.keys.blocks_per_row).sum(axis=1)
        key_cycles = (
            blocks * (around + columns * mac) + key_rows * row + some * (columns * write + edge)
        )
        some_values = values.any(axis=1)
        value_blocks, windows = values.sum(axis=1), any_in(values, WINDOW_BLOCKS).sum(axis=1)
        results = windows * columns
        value_cycles = (
            results * (around + row) + value_blocks * (columns * mac + write) + some_values * edge
        )
        changes = np.array([2 * blocks + some, 2 * results + some_values]) * t.n_modch_cycles
        readout = np.array([blocks, results]) * (latency + 1)
        score, context = np.array([key_cycles, value_cycles]) - changes - readout
        macs = (blocks + value_blocks) * columns
        moves = some * columns + value_blocks + 2 * (blocks + results)
        move = (changes + readout).sum(axis=0)
        return np.array([score, context, move, key_rows, results, macs, moves])

    def scheduled(self, key_blocks: IntArray, value_blocks: IntArray) -> tuple[int, ...]:
        """Count one query head's step as the command set runs it."""
        parts = regions(self, key_blocks, value_blocks)
        phases = cycles_by_phase(parts, self.device.timing)
        keys, values = (Counter(one.commands) for one in parts.values())
        both = keys + values
        return (
            phases["keys"],
            phases["values"],
            phases["mode"] + phases["readout"],
            keys["ACT16"],
            values["ACT16"],
            both["MAC16"],
            both["WRGB"] + both["WRMAC16"] + both["RDMAC16"],
        )

    def requests(
        self, keys: BoolArray, values: BoolArray, q_heads: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the requests of every query head, by the names of the public traces."""
        for own, other in zip(keys, values, strict=True):
            for sent in (
                key_requests(np.flatnonzero(own), self.head_dim, self.layout),
                value_requests(np.flatnonzero(other), self.head_dim),
            ):
                for command, repeats, row, _ in sent[:-1].tolist():
                    place = f"row {row}" if command == MAC else "registers"
                    for _ in range(repeats):
                        yield COMMANDS[command], place

    def kv_head_bytes(self, tokens: int) -> int:
        """Return the bytes of the rows of all banks."""
        blocks = -(-tokens // BLOCK_TOKENS)
        rows = -(-blocks // self.keys.blocks_per_row)
        rows += key_columns(self.head_dim) * -(-blocks // WINDOW_BLOCKS)
        return rows * ROW_COLUMNS * COLUMN_BYTES * BANKS

    def attention(self, tokens: int, read: Any, *, refresh: bool) -> dict[str, Any]:
        """Return cycles by phase and commands of one query head's attention."""
        if not refresh:
            raise UserError(f"{self.device.name}: never refreshes; leave out --no-refresh")
        every = np.arange(-(-tokens // BLOCK_TOKENS))
        blocks = every if read is None else np.unique(np.asarray(read) // BLOCK_TOKENS)
        parts = regions(self, blocks, blocks)
        return {
            "phases": cycles_by_phase(parts, self.device.timing),
            "regions": {
                name: {"cycles": one.cycles, "blocks": len(blocks), "commands": one.commands}
                for name, one in parts.items()
            },
        }


def key_requests(blocks: Any, head_dim: int, keys: str) -> Any:
    """Return the requests for the scores of the touched blocks (blocks,), ascending."""
    columns = key_columns(head_dim)
    per_row = ROW_COLUMNS // columns if keys == "packed" else 1
    requests = [(WRGB, columns, 0, _MASK)]
    for block in np.asarray(blocks).tolist():
        requests.append((WRMAC, 1, 0, _MASK))
        requests.append((MAC, columns, _row(block // per_row), _MASK))
        requests.append((RDMAC, 1, 0, _MASK))
    return np.array([*requests, (END, 1, 0, _MASK)], dtype=np.int64)


def value_requests(blocks: Any, head_dim: int) -> Any:
    """Return the requests for the result over the touched blocks (blocks,), ascending."""
    slices = key_columns(head_dim)
    window, counts = np.unique(
        np.asarray(blocks) * BLOCK_TOKENS // WINDOW_TOKENS, return_counts=True
    )
    requests = []
    for number, count in zip(window.tolist(), counts.tolist(), strict=True):
        requests.append((WRGB, count, 0, _MASK))
        for part in range(slices):
            requests.append((WRMAC, 1, 0, _MASK))
            requests.append((MAC, count, _row(number * slices + part), _MASK))
            requests.append((RDMAC, 1, 0, _MASK))
    return np.array([*requests, (END, 1, 0, _MASK)], dtype=np.int64)


def key_columns(head_dim: int) -> int:
    """Return the columns of one key, which are also the rows of one window of values."""
    columns = -(-head_dim // LANES)
    if not 1 <= columns <= ROW_COLUMNS:
        raise UserError(
            f"aim: head_dim {head_dim}: a row has {ROW_COLUMNS * LANES} elements; "
            f"use a head_dim of 1 to {ROW_COLUMNS * LANES}"
        )
    return columns


def regions(mapping: Aim, key_blocks: Any, value_blocks: Any) -> dict[str, Outcome]:
    """Run the requests of one query head, region by region."""
    head_dim, timing = mapping.head_dim, mapping.device.timing
    nothing = Outcome(0, {})
    return {
        "keys": aim.simulate(key_requests(key_blocks, head_dim, mapping.layout), timing)
        if len(key_blocks)
        else nothing,
        "values": aim.simulate(value_requests(value_blocks, head_dim), timing)
        if len(value_blocks)
        else nothing,
    }


def cycles_by_phase(parts: dict[str, Outcome], timing: aim.Timing) -> dict[str, int]:
    """Return cycles of keys, values, changes of mode and readout."""
    readout = int(done_after(timing)[RDMAC]) + 1
    phases = {"keys": 0, "values": 0, "mode": 0, "readout": 0}
    for name, outcome in parts.items():
        mode = outcome.commands.get("TMOD", 0) * timing.n_modch_cycles
        read_cycles = outcome.commands.get("RDMAC16", 0) * readout
        phases["mode"] += mode
        phases["readout"] += read_cycles
        phases[name] += outcome.cycles - mode - read_cycles
    return phases


def _row(number: int) -> int:
    if number >= ROWS:
        raise UserError(f"aim: the tokens need more than the {ROWS} rows of a bank; use fewer")
    return number
