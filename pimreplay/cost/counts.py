"""What a step's commands are, counted, and its cycles by part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Geometry

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a step's commands are, counted; each (points,)."""

    blocks: IntArray
    scores: IntArray
    """Query-key products: block tokens times query heads."""
    key_rows: IntArray
    """Activation commands for keys."""
    value_rows: IntArray
    key_macs: IntArray
    value_macs: IntArray
    query_writes: IntArray
    softmax_moves: IntArray
    gemv_moves: IntArray


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


def count(geometry: Geometry, q_heads: int, n: IntArray, rows: IntArray) -> Counts:
    """Count the commands of reading `n` blocks (points,), with these rows opened (2, points)."""
    level, org, some = geometry.hardware.level, geometry.hardware.organisation, n > 0
    groups = -(-n // BLOCKS_PER_MOVE)
    stops = len(level.score_moves(org)) * groups + np.where(
        some, len(level.context_moves(org)) * geometry.value_slices, 0
    )
    targets = len(level.gemv_targets(org))
    return Counts(
        blocks=n,
        scores=n * (q_heads * geometry.block_tokens),
        key_rows=rows[0],
        value_rows=rows[1],
        key_macs=n * (geometry.key_columns * q_heads),
        value_macs=n * (geometry.value_slices * q_heads),
        query_writes=some * (geometry.query_writes * q_heads),
        softmax_moves=stops * q_heads,
        gemv_moves=-(-n // geometry.lane_words) * (targets * q_heads),
    )
