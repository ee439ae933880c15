"""Closed forms for the cycles of one KV head's attention, derived from the timing table.

Nothing here is fitted: every term is a sum or maximum of named timings, explained in
docs/timing_model.md. `benchmarks/fidelity.py` prints the error against the scheduler.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.hardware import Geometry, Hardware

IntArray = NDArray[np.int64]
BLOCKS_PER_MOVE = 16
"""Blocks scored between two moves of scores to the softmax buffer (AttAcc's trace generator)."""
QUEUE_ENTRIES = 33
"""Requests that a controller looks ahead."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a step's commands are, counted; each (points,)."""

    blocks: IntArray
    scores: IntArray
    """Query-key products: block tokens times query heads."""
    key_rows: IntArray
    value_rows: IntArray
    key_macs: IntArray
    value_macs: IntArray
    query_writes: IntArray
    softmax_moves: IntArray
    gemv_moves: IntArray
    key_span_cycles: IntArray
    """First to last MAC of the score product, row switches included."""
    key_last_cycles: IntArray
    """The part of it in the last row."""
    value_span_cycles: IntArray
    value_last_cycles: IntArray


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


@dataclass(frozen=True, slots=True)
class Moves:
    """Data movement of one query head in one channel, in commands."""

    score: int
    """Moves of 16 blocks' scores to the softmax buffer."""
    context: int
    """Moves of one value slice's sums."""
    gemv_targets: int
    """GEMV buffers that get probabilities, one by one."""


def moves_of(hardware: Hardware) -> Moves:
    """Return how many moves a stage takes at the hardware's level."""
    org = hardware.organisation
    if hardware.level == "buffer":
        return Moves(1, 1, 1)
    groups = org.ranks * org.bank_groups
    return Moves(groups, org.ranks * (org.banks if hardware.level == "bank" else 1), groups)


def mac_spacing_cycles(hardware: Hardware) -> int:
    """Return the cycles between two MAC commands to open rows."""
    t = hardware.timing
    return {
        "bank": t.n_ccdab_cycles,
        "bg": t.n_ccdsb_cycles,
        "buffer": max(t.n_bl_cycles, t.n_ccds_cycles),
    }[hardware.level]


def count(
    hardware: Hardware, geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int
) -> Counts:
    """Count rows, MACs and moves of reading `blocks` (points, n_blocks) for `q_heads` queries."""
    from pimreplay import _counting

    t, moves = hardware.timing, moves_of(hardware)
    spacing = mac_spacing_cycles(hardware)
    # one move of each query's scores goes to the bank that MACs name, and waits for them
    waiting = 2 + (q_heads - 1) * t.n_ccdl_cycles
    flat = np.ascontiguousarray(blocks).view(np.uint8)
    timing = [
        spacing,
        t.n_rtpl_cycles,
        t.n_rp_cycles,
        t.n_rcdrd_cycles,
        t.n_ras_cycles,
        t.n_rc_cycles,
    ]
    keys = np.zeros((len(flat), 5), dtype=np.int64)
    values = np.zeros((len(flat), 5), dtype=np.int64)
    key_row, value_row = geometry.key_blocks_per_row, geometry.value_blocks_per_row
    slices = geometry.value_slices
    if hardware.level == "buffer":
        # a row of every bank of the pseudo-channel opens under the MACs of the others
        key_row *= geometry.interleaved_banks
        value_row *= geometry.interleaved_banks
        timing[1:] = 0, 0, 0, 0, 0
    extra = (*timing, max(0, waiting - spacing))
    plain = (*timing, 0)
    if hardware.level == "bg":
        rows = [-(-flat.shape[1] // row) for row in (key_row, value_row)]
        banks = hardware.organisation.banks
        _counting.count_banked(
            *(flat, key_row, geometry.key_columns * q_heads, 1, 0, 0, banks),
            *(BLOCKS_PER_MOVE, QUEUE_ENTRIES, extra, keys),
        )
        _counting.count_banked(
            *(flat, value_row, q_heads, slices, rows[1], rows[0], banks),
            *(1 << 40, QUEUE_ENTRIES, plain, values),
        )
        key_rows, value_rows = keys[:, _counting.ROWS], values[:, _counting.ROWS]
        value_macs = values[:, _counting.MACS]
        last, span = values[:, _counting.LAST], values[:, _counting.SPAN]
    else:
        words, unit = _words(flat, key_row, value_row)
        key_work = geometry.key_columns * q_heads
        _counting.count(words, key_row // unit, key_work, extra, keys)
        _counting.count(words, value_row // unit, q_heads, plain, values)
        key_rows, value_rows = keys[:, _counting.ROWS], values[:, _counting.ROWS] * slices
        value_macs = values[:, _counting.MACS] * slices
        # one slice after the other: each but the last ends with a row switch
        last = values[:, _counting.LAST]
        switch = np.maximum(
            np.maximum(t.n_ras_cycles, t.n_rcdrd_cycles + last + t.n_rtpl_cycles) + t.n_rp_cycles,
            t.n_rc_cycles,
        )
        if hardware.level == "buffer":
            switch = last + spacing
            key_rows = _units(hardware, geometry.key_columns, blocks)
            value_rows = _units(hardware, 1, blocks) * slices
        span = values[:, _counting.SPAN]
        span = span + (slices - 1) * (span - last + switch)
    n = keys[:, _counting.BLOCKS]
    some = n > 0
    groups = -(-n // BLOCKS_PER_MOVE)
    gemv = -(-n * geometry.block_tokens // (geometry.block_tokens * geometry.lane_words))
    return Counts(
        blocks=n,
        scores=n * geometry.block_tokens * q_heads,
        key_rows=key_rows,
        value_rows=value_rows,
        key_macs=keys[:, _counting.MACS],
        value_macs=value_macs,
        query_writes=np.where(some, geometry.query_writes * q_heads, 0),
        softmax_moves=(groups * moves.score + np.where(some, moves.context * slices, 0)) * q_heads,
        gemv_moves=gemv * moves.gemv_targets * q_heads,
        key_span_cycles=keys[:, _counting.SPAN],
        key_last_cycles=keys[:, _counting.LAST],
        value_span_cycles=np.where(some, span, 0),
        value_last_cycles=last,
    )


def _words(flat: NDArray[np.uint8], *rows: int) -> tuple[NDArray[np.uint64], int]:
    """Return the blocks in words of eight where rows have whole words, else one a word."""
    if any(row % 8 for row in rows):
        return flat.astype(np.uint64), 1
    missing = -flat.shape[1] % 8
    if missing:
        flat = np.pad(flat, ((0, 0), (0, missing)))
    return flat.view(np.uint64), 8


def _units(hardware: Hardware, columns: int, blocks: NDArray[np.bool_]) -> IntArray:
    """Count the bank rows that a buffer-level device opens, each in all pseudo-channels."""
    org = hardware.organisation
    interleaved = org.ranks * org.bank_groups * org.banks
    points, n_blocks = blocks.shape
    if interleaved % columns == 0:  # a block's columns lie side by side: count whole blocks
        places = interleaved // columns
        stretch = places * org.columns
        padded = np.zeros((points, -(-n_blocks // stretch) * stretch), dtype=np.bool_)
        padded[:, :n_blocks] = blocks
        opened = padded.reshape(points, -1, org.columns, places).any(axis=2)
        rows: IntArray = opened.sum(axis=(1, 2), dtype=np.int64) * columns
        return rows
    index = np.arange(n_blocks * columns).reshape(n_blocks, columns)
    unit = index // (interleaved * org.columns) * interleaved + index % interleaved
    touched = np.zeros((points, int(unit.max(initial=0)) + 1), dtype=np.bool_)
    point, block = np.nonzero(blocks)
    for column in range(columns):
        touched[point, unit[block, column]] = True
    result: IntArray = touched.sum(axis=1, dtype=np.int64)
    return result


def cycles(hardware: Hardware, geometry: Geometry, counts: Counts, q_heads: int) -> Cycles:
    """Return the cycles of each point by part.

    The parts follow each other: the query's writes and the score product; the last scores' move,
    softmax and the probabilities' moves; the context product; its last moves. Row switches hide
    moves and the other way round.
    """
    t, moves = hardware.timing, moves_of(hardware)
    some = counts.blocks > 0
    bus = max(t.n_bl_cycles, t.n_ccds_cycles) if hardware.level != "buffer" else t.n_ccdl_cycles
    writes = geometry.query_writes * q_heads
    start = np.maximum(2 + (writes - 1) * t.n_ccdl_cycles, 1 + t.n_rcdrd_cycles)
    # all-bank MACs hold a refresh off until their row is done, then it stands in for a precharge;
    # others do not: it closes every row at once
    waits = hardware.level == "bank"
    refresh = t.n_rfc_cycles + 1 + (-t.n_rp_cycles if waits else t.n_rcdrd_cycles)
    interval = t.n_refi_cycles if hardware.refresh else 1 << 60

    # score, with the refreshes that fall due before its last row opens
    before = start + counts.key_span_cycles - (counts.key_last_cycles if waits else 0)
    first = _refreshes(before, interval, refresh)
    score = start + counts.key_span_cycles + first * refresh

    # moves between the products
    gemv = _gemv_cycles(hardware, counts.gemv_moves // q_heads // moves.gemv_targets, q_heads)
    tail = moves.score * q_heads * bus + 1 + gemv + 1
    # the context's first row opens as soon as its request is in the queue
    waiting = moves.score * q_heads + q_heads + counts.gemv_moves + 2
    seen = np.maximum(0, waiting - QUEUE_ENTRIES + 1) * bus
    spacing = mac_spacing_cycles(hardware)
    opening = seen + t.n_rp_cycles + t.n_rcdrd_cycles
    if waits:
        # the last key row must have been open for tRAS, and for tRC before the next opens
        opened = score - counts.key_last_cycles - t.n_rcdrd_cycles
        opened = np.where(counts.key_rows == 1, 1, opened)
        close = np.maximum(score + t.n_rtpl_cycles, opened + t.n_ras_cycles)
        ready = np.maximum(close + t.n_rp_cycles, opened + t.n_rc_cycles) + t.n_rcdrd_cycles
        opening = np.maximum(opening, ready - score)
    gap = np.maximum(opening, tail)
    gap = np.maximum(gap, spacing)
    # a refresh inside that gap costs what reaches beyond it
    due = (score + gap) // interval
    inside = due > first
    closed = np.maximum(score + t.n_rtpl_cycles, due * interval)
    opened = closed + 1 + t.n_rfc_cycles + t.n_rcdrd_cycles
    begin = np.where(inside, np.maximum(score + gap, opened), score + gap)

    # context, likewise; its last moves are hidden by nothing
    served = np.maximum(first, due)
    before = counts.value_span_cycles - (counts.value_last_cycles if waits else 0)
    second = _refreshes_from(begin, before, served, interval, refresh)
    context = counts.value_span_cycles + second * refresh
    end = moves.context * q_heads * bus
    zero = np.zeros_like(counts.blocks)
    return Cycles(
        score=np.where(some, score, zero),
        softmax=np.where(some, 1, zero),
        context=np.where(some, context, zero),
        move=np.where(some, begin - score - 1 + end, zero),
    )


def _gemv_cycles(hardware: Hardware, each: IntArray, q_heads: int) -> IntArray:
    """Cycles of moving `each` columns of probabilities to each GEMV buffer, one after the other.

    Moves to one bank group are tCCDL apart, to different ones tBL; the controller sees only its
    queue, so that long runs to one group overlap with the next one's for a queue's length.
    """
    t, moves = hardware.timing, moves_of(hardware)
    runs = moves.gemv_targets * q_heads
    fastest = runs * each * max(t.n_bl_cycles, t.n_ccds_cycles)
    if moves.gemv_targets == 1:
        return runs * each * t.n_ccdl_cycles
    alone = runs * each - (runs - 1) * QUEUE_ENTRIES
    return np.maximum(fastest, alone * t.n_ccdl_cycles)


def _refreshes(before: IntArray, interval: int, cost: int) -> IntArray:
    """How many refreshes start when the last row opens after `before` cycles without any."""
    return _refreshes_from(np.zeros_like(before), before, np.zeros_like(before), interval, cost)


def _refreshes_from(
    begin: IntArray, before: IntArray, served: IntArray, interval: int, cost: int
) -> IntArray:
    """How many more refreshes fall due before a last row that opens `before` after `begin`.

    The r-th more is due at (served + r) intervals, when r - 1 have delayed everything.
    """
    room = begin + before - cost - served * interval
    more: IntArray = np.maximum(0, -(-room // (interval - cost)) - 1)
    # the first: nothing has delayed it yet
    one = begin + before > (served + 1) * interval
    return np.where(one, np.maximum(1, more), 0)
