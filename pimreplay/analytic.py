"""Closed forms for the cycles of one KV head's attention, derived from the timing table.

Nothing here is fitted: every term is a sum or maximum of named timings. `benchmarks/fidelity.py`
prints the error against the cycle-accurate scheduler.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.hardware import Geometry, Hardware

IntArray = NDArray[np.int64]
MACS_PER_MOVE = 16
"""Blocks scored between two moves of scores to the softmax buffer (AttAcc's trace generator)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a step's commands are, counted; each (points,)."""

    blocks: IntArray
    key_rows: IntArray
    value_rows: IntArray
    key_macs: IntArray
    value_macs: IntArray
    query_writes: IntArray
    softmax_moves: IntArray
    gemv_moves: IntArray
    key_row_cycles: IntArray
    value_row_cycles: IntArray


@dataclass(frozen=True, slots=True)
class Cycles:
    """Cycles of a step by part; each (points,); the total is their sum."""

    score: IntArray
    softmax: IntArray
    context: IntArray
    move: IntArray

    @property
    def total(self) -> IntArray:
        """Return all cycles."""
        result: IntArray = self.score + self.softmax + self.context + self.move
        return result


def mac_spacing_cycles(hardware: Hardware) -> int:
    """Return the cycles between two MAC commands to open rows."""
    t = hardware.timing
    return {
        "bank": t.n_ccdab_cycles,
        "bg": t.n_ccdsb_cycles,
        "buffer": max(t.n_bl_cycles, t.n_ccds_cycles // 2),
    }[hardware.level]


def count(geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int) -> Counts:
    """Count rows, MACs and moves of reading `blocks` (points, n_blocks) for `q_heads` queries."""
    n = blocks.sum(axis=1, dtype=np.int64)
    key_rows = _rows(blocks, geometry.key_blocks_per_row)
    value_rows = _rows(blocks, geometry.value_blocks_per_row) * geometry.value_slices
    groups = -(-n // MACS_PER_MOVE)
    empty = np.zeros_like(n)
    return Counts(
        blocks=n,
        key_rows=key_rows,
        value_rows=value_rows,
        key_macs=n * geometry.key_columns * q_heads,
        value_macs=n * geometry.value_slices * q_heads,
        query_writes=np.where(n > 0, geometry.query_writes * q_heads, 0),
        softmax_moves=groups * 8 * q_heads + np.where(n > 0, 8 * geometry.value_slices, 0) * q_heads,
        gemv_moves=8 * -(-n // geometry.lane_words) * q_heads,
        key_row_cycles=empty,
        value_row_cycles=empty,
    )


def _rows(blocks: NDArray[np.bool_], per_row: int) -> IntArray:
    points, n_blocks = blocks.shape
    padded = -(-n_blocks // per_row) * per_row
    if padded != n_blocks:
        blocks = np.pad(blocks, ((0, 0), (0, padded - n_blocks)))
    rows: IntArray = blocks.reshape(points, -1, per_row).any(axis=2).sum(axis=1, dtype=np.int64)
    return rows


def cycles(hardware: Hardware, geometry: Geometry, counts: Counts) -> Cycles:
    """Return the cycles of each point by part."""
    t = hardware.timing
    spacing = mac_spacing_cycles(hardware)
    switch = t.n_rtpl_cycles + t.n_rp_cycles + t.n_rcdrd_cycles - spacing
    score = counts.key_macs * spacing + counts.key_rows * switch
    context = counts.value_macs * spacing + counts.value_rows * switch
    softmax = np.where(counts.blocks > 0, 1, 0).astype(np.int64)
    move = counts.gemv_moves * t.n_bl_cycles // 2 + np.where(counts.blocks > 0, 48, 0)
    return Cycles(score, softmax, context, move)
