"""What the mappings of memories that can be bought share.

Query heads read one after the other, each its own blocks; the host computes the softmax. Energy is
what has a published coefficient; the rest is unknown.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pimreplay.command_sets import timing_of
from pimreplay.cost.energy_parts import Energy, FloatArray, times
from pimreplay.cost.mapping import BoolArray, Mapping
from pimreplay.cost.overheads import Amount, Cost
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import IntArray, StepCost
from pimreplay.hardware.device import Device
from pimreplay.hardware.product import Product, Tables, product
from tracegen.base.errors import UserError

COLUMN_BYTES = 32
ELEMENT_BYTES = 2
MOST_OFF_RATIO = 0.05
"""Most that a step's analytic cycles may be off."""

TILE_POINTS = 512
"""Points counted at once: what they take stays in the caches."""

SCORE, CONTEXT, MOVE, KEY_ROWS, VALUE_ROWS, MACS, MOVES = range(7)
"""What is counted of a query head's step: cycles of keys, of values and of everything else, rows
opened for each, MAC commands, and accesses that move data."""
COUNTED = 7


@dataclass(frozen=True, slots=True)
class ProductMapping(Mapping):
    """A KV head in a memory of which each query head asks its own blocks."""

    device: Product
    together: ClassVar[bool] = False
    row_banks: ClassVar[int]
    """Banks that open a row together."""

    def __post_init__(self) -> None:
        """Refuse elements that the units do not multiply."""
        if self.kv_bits != 8 * ELEMENT_BYTES:
            raise UserError(
                f"hardware {self.device.name}: its units multiply elements of 16 bits, not "
                f"{self.kv_bits}; use 16"
            )

    @abstractmethod
    def analytic(self, keys: BoolArray, values: BoolArray) -> IntArray:
        """Count one query head's steps, (points, n_blocks) each, in closed form: (7, points)."""

    @abstractmethod
    def scheduled(self, key_blocks: IntArray, value_blocks: IntArray) -> tuple[int, ...]:
        """Count one query head's step, the numbers of its blocks, as the command set runs it."""

    def cost(self, keys: BoolArray, values: BoolArray, q_heads: int, fidelity: str) -> StepCost:
        """Return what a step costs, query head after query head."""
        counted = self._all_analytic if fidelity == "analytic" else self._all_scheduled
        each = [counted(own, other) for own, other in zip(keys, values, strict=True)]
        found: IntArray = np.sum(each, axis=0)
        cycles: IntArray = found[SCORE] + found[CONTEXT] + found[MOVE]
        activations = (found[KEY_ROWS] + found[VALUE_ROWS]) * self.row_banks
        none = np.zeros_like(cycles)
        bits = found[MACS] * (self.row_banks * COLUMN_BYTES * 8.0)
        return StepCost(
            cycles=cycles,
            score_cycles=found[SCORE],
            softmax_cycles=none,
            context_cycles=found[CONTEXT],
            move_cycles=found[MOVE],
            hidden_cycles=none,
            n_key_rows=found[KEY_ROWS],
            n_value_rows=found[VALUE_ROWS],
            n_activations=activations,
            n_mac_commands=found[MACS],
            n_moves=found[MOVES],
            energy=self._energy(activations, bits, cycles.astype(np.float64) * self.device.t_ck_ns),
        )

    def _all_analytic(self, keys: BoolArray, values: BoolArray) -> IntArray:
        parts = [slice(i, i + TILE_POINTS) for i in range(0, max(1, len(keys)), TILE_POINTS)]
        return np.concatenate([self.analytic(keys[one], values[one]) for one in parts], axis=1)

    def _all_scheduled(self, keys: BoolArray, values: BoolArray) -> IntArray:
        found = np.zeros((COUNTED, len(keys)), dtype=np.int64)
        for point, (key, value) in enumerate(zip(keys, values, strict=True)):
            if key.any() or value.any():
                found[:, point] = self.scheduled(np.flatnonzero(key), np.flatnonzero(value))
        return found

    def _energy(self, activations: IntArray, bits: FloatArray, time_ns: FloatArray) -> Energy:
        price = dict(self.device.energy).get
        return Energy(
            activation_pj=times(activations.astype(np.float64), price("activation_pj")),
            cell_pj=times(bits, price("cell_pj_per_bit")),
            movement_pj=None,
            mac_pj=None,
            softmax_pj=None,
            background_pj=times(time_ns, price("background_mw_per_channel")),
            refresh_pj=None,
        )

    def scoring(self, vectors: Amount, scored_bytes: Amount | None) -> Cost:
        """Multiply vectors like dense keys; nobody published what that takes of energy."""
        blocks = np.ceil(np.asarray(vectors) / self.keys.block_tokens).astype(np.int64)
        counts, place = np.unique(blocks, return_inverse=True)
        dense = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
        cycles = self.analytic(dense, np.zeros((len(counts), 1), dtype=np.bool_))[:KEY_ROWS]
        scoring_ns: FloatArray = cycles.sum(axis=0)[place] * self.device.t_ck_ns
        return scoring_ns, None

    def remapping(self, tokens: Amount) -> Cost:
        """Read and write keys and values once over the channel's data bus, in whole columns."""
        token_bytes = 2 * self.head_dim * ELEMENT_BYTES
        accesses = np.ceil(np.asarray(tokens, dtype=np.float64) * token_bytes / COLUMN_BYTES)
        remap_ns: FloatArray = 2 * accesses * self.device.timing.n_bl_cycles * self.device.t_ck_ns
        return remap_ns, None

    def facts(self) -> dict[str, int]:
        """Return block and row sizes of both regions."""
        return {
            "kv_bits": self.kv_bits,
            "block_tokens": self.keys.block_tokens,
            "key_blocks_per_row": self.keys.blocks_per_row,
            "value_block_tokens": self.values.block_tokens,
            "value_blocks_per_row": self.values.blocks_per_row,
        }


def clocked_product(
    command_set: str, tables: Tables, path: Path, values: dict[str, Any]
) -> Product:
    """Return the device that a file's content describes, clocked as its command set is.

    Args:
        command_set: Whose timings the file holds.
        tables: What the file must and may hold.
        path: The file.
        values: Its content.

    Raises:
        UserError: a value is missing or wrong.
    """
    tables.refuse_wrong(path, values)
    timing = timing_of(command_set, str(path), values["timing"])
    t_ck_ns = timing.t_ck_ps / 1000
    return product(path, values, t_ck_ns=t_ck_ns, timing=timing, where="organisation")


def any_in(blocks: BoolArray, size: int) -> BoolArray:
    """Return which runs of `size` blocks have one that is touched: (points, runs)."""
    padded = np.pad(blocks, ((0, 0), (0, -blocks.shape[1] % size)))
    return np.asarray(padded.reshape(len(blocks), -1, size).any(axis=2))


def same_capacity(device: Device, channel_bytes: int) -> Check:
    """Compare a channel's stated capacity with its banks, rows and columns."""
    passed = device.channel_bytes == channel_bytes
    text = (
        f"capacity {device.channels * device.channel_bytes / 2**30:g} GiB in "
        f"{device.channels} channels; banks, rows and columns of a channel give "
        f"{channel_bytes:,} bytes, the file states {device.channel_bytes:,}"
    )
    return Check(device.name, "capacity", passed, text)


def fidelities_agree(mapping: ProductMapping) -> Check:
    """Compare closed forms with the command set: a few tokens, many at random, and all."""
    random, tokens = np.random.default_rng(0), 1024
    masks = np.array([random.random(tokens) < share for share in (0.005, 0.05, 0.2, 1.0)])
    masks[:, 0] = True
    keys, values = (
        any_in(masks, region.block_tokens)[None] for region in (mapping.keys, mapping.values)
    )
    fast, true = (mapping.cost(keys, values, 1, name).cycles for name in ("analytic", "command"))
    off = float(np.abs(fast / true - 1).max())
    text = f"closed forms within {off:.1%} of the command set over {len(masks)} selections"
    return Check(mapping.device.name, "fidelity", off <= MOST_OFF_RATIO, text)


def no_energy(device: Device) -> Check:
    """Say that totals are unknown."""
    return Check(device.name, "energy", True, "some energy unknown: totals are null")
