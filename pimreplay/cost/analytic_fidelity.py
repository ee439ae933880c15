"""The cycles of one KV head's attention row by row, derived from the timing table.

Nothing here is fitted: every term is a sum or maximum of named timings, explained in
docs/timing_model.md. `benchmarks/fidelity.py` prints the error against the scheduler.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pimreplay.hardware.device import Geometry, Hardware
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing

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


@dataclass(frozen=True, slots=True)
class Moves:
    """Data movement of one query head in one channel, in commands."""

    score: int
    """Moves of 16 blocks' scores to the softmax buffer."""
    context: int
    """Moves of one value slice's sums."""
    gemv_targets: int
    """GEMV buffers that get probabilities, one by one."""


@dataclass(frozen=True, slots=True)
class Device:
    """What of a hardware file decides cycles."""

    level: str
    organisation: Organisation
    timing: Timing
    refresh: bool


def moves_of(hardware: Hardware | Device) -> Moves:
    """Return how many moves a stage takes at the hardware's level."""
    org = hardware.organisation
    if hardware.level == "buffer":
        return Moves(1, 1, 1)
    groups = org.ranks * org.bank_groups
    return Moves(groups, org.ranks * (org.banks if hardware.level == "bank" else 1), groups)


def mac_spacing_cycles(hardware: Hardware | Device) -> int:
    """Return the cycles between two MAC commands to open rows."""
    t = hardware.timing
    return {
        "bank": t.n_ccdab_cycles,
        "bg": t.n_ccdsb_cycles,
        "buffer": max(t.n_bl_cycles, t.n_ccds_cycles),
    }[hardware.level]


def evaluate(
    hardware: Hardware, geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int
) -> tuple[Counts, Cycles]:
    """Count and time reading `blocks` (points, n_blocks) for `q_heads` queries."""
    from pimreplay.cost.walks import all_bank as _walk

    points, n_blocks = blocks.shape
    found = np.zeros((_walk.FIELDS, points), dtype=np.int64)
    device = Device(hardware.level, hardware.organisation, hardware.timing, hardware.refresh)
    parameters = _parameters(device, geometry, q_heads)
    longest = max(1, -(-n_blocks // geometry.lane_words))
    tail = _tails(device, geometry, q_heads, 1 << (longest - 1).bit_length())
    key_row, value_row = geometry.key_blocks_per_row, geometry.value_blocks_per_row
    flat = np.ascontiguousarray(blocks).view(np.uint8)
    if hardware.level == "bank":
        words, unit = _words(flat, key_row, value_row)
        times = _row_times(device, geometry, q_heads)
        _walk.walk_all_bank(
            words, key_row // unit, value_row // unit, parameters, *times, tail, found
        )
    elif hardware.level == "bg":
        from pimreplay.cost.walks import bank_group as _bank_walk

        parameters = parameters.copy()
        parameters[_walk.VALUE_FIRST] = -(-n_blocks // key_row)
        parameters[_walk.SLICE_ROWS] = -(-n_blocks // value_row)
        _bank_walk.walk_banks(_words(flat)[0], parameters, tail, found)
    else:
        from pimreplay.cost.walks import buffer as _buffer_walk

        parameters = parameters.copy()
        parameters[_walk.VALUE_FIRST] = parameters[_walk.SLICE_ROWS] = 1 << 20
        _buffer_walk.walk_buffer(_words(flat)[0], parameters, tail, found)
    if device.refresh and device.level != "bank":
        macs = geometry.key_columns * q_heads, geometry.value_slices * q_heads
        _add_refreshes(found, device.timing, *macs)
    n, rows = found[_walk.BLOCKS], found[[_walk.KEY_ROWS, _walk.VALUE_ROWS]]
    context = found[_walk.VALUE_END] - found[_walk.VALUE_BEGIN]
    score, softmax = found[_walk.KEY_END], (n > 0).astype(np.int64)
    cycles = Cycles(score, softmax, context, found[_walk.END] - context - score - softmax)
    return count(hardware, geometry, q_heads, n, rows), cycles


def count(
    hardware: Hardware, geometry: Geometry, q_heads: int, n: IntArray, rows: IntArray
) -> Counts:
    """Count the commands of reading `n` blocks (points,), with these rows opened (2, points)."""
    moves, some = moves_of(hardware), n > 0
    groups = -(-n // BLOCKS_PER_MOVE)
    stops = moves.score * groups + np.where(some, moves.context * geometry.value_slices, 0)
    return Counts(
        blocks=n,
        scores=n * (q_heads * geometry.block_tokens),
        key_rows=rows[0],
        value_rows=rows[1],
        key_macs=n * (geometry.key_columns * q_heads),
        value_macs=n * (geometry.value_slices * q_heads),
        query_writes=some * (geometry.query_writes * q_heads),
        softmax_moves=stops * q_heads,
        gemv_moves=-(-n // geometry.lane_words) * (moves.gemv_targets * q_heads),
    )


def _add_refreshes(found: IntArray, timing: Timing, key_macs: int, value_macs: int) -> None:
    """Delay what a walk below bank level has found by the refreshes that fall due meanwhile.

    One that falls due between MACs, of which a block has so many, stops them until it is over and
    their row has opened again; so do the other rows that are open for MACs. Beside moves it costs
    what is not over when the values begin.
    """
    from pimreplay.cost.walks import all_bank as w

    interval, cost = timing.n_refi_cycles, timing.n_rfc_cycles + 1 + timing.n_rcdrd_cycles

    def due(cycle: IntArray, served: IntArray | int) -> IntArray:
        # the r-th more falls due at (served + r) intervals, when r - 1 have delayed everything
        more: IntArray = (cycle - cost - served * interval) // (interval - cost)
        return more.clip(0)

    blocks = np.maximum(found[w.BLOCKS], 1)
    among_keys = due(found[w.KEY_END], 0)
    found[w.KEY_END] += among_keys * cost
    found[w.KEY_ROWS] += among_keys * found[w.KEY_OPEN] // (blocks * key_macs)
    begin = found[w.VALUE_BEGIN] + among_keys * cost
    served = begin // interval
    begin = np.maximum(begin, np.where(served > 0, served * interval + cost, 0))
    delay = begin - found[w.VALUE_BEGIN]
    among_values = due(found[w.VALUE_END] + delay, served)
    found[w.VALUE_BEGIN] += delay
    found[w.VALUE_END] += delay + among_values * cost
    found[w.END] += delay + among_values * cost
    found[w.VALUE_ROWS] += among_values * found[w.VALUE_OPEN] // (blocks * value_macs)


def _words(flat: NDArray[np.uint8], *rows: int) -> tuple[NDArray[np.uint64], int]:
    """Return the blocks in words of eight where rows have whole words, else one a word."""
    if any(row % 8 for row in rows):
        return flat.astype(np.uint64), 1
    missing = -flat.shape[1] % 8
    if missing:
        flat = np.pad(flat, ((0, 0), (0, missing)))
    return flat.view(np.uint64), 8


@lru_cache(maxsize=64)
def _parameters(device: Device, geometry: Geometry, q_heads: int) -> IntArray:
    """Return what the walk is told of a device, in the order of its parameters."""
    from pimreplay.cost.walks import all_bank as w

    t, org, moves = device.timing, device.organisation, moves_of(device)
    values = {
        w.SPACING: mac_spacing_cycles(device),
        w.BUS: max(t.n_bl_cycles, t.n_ccds_cycles),
        w.SAME: max(t.n_bl_cycles, t.n_ccds_cycles, t.n_ccdl_cycles),
        w.RTPL: t.n_rtpl_cycles,
        w.RP: t.n_rp_cycles,
        w.RCD: t.n_rcdrd_cycles,
        w.RAS: t.n_ras_cycles,
        w.RC: t.n_rc_cycles,
        w.REFI: t.n_refi_cycles if device.refresh else 1 << 60,
        w.RFC: t.n_rfc_cycles,
        w.WRITES: geometry.query_writes * q_heads,
        w.QUERIES: q_heads,
        w.SCORE_MOVES: moves.score * q_heads,
        w.CONTEXT_MOVES: moves.context * q_heads,
        w.TARGETS: moves.gemv_targets * q_heads,
        w.KEY_COLUMNS: geometry.key_columns,
        w.SLICES: geometry.value_slices,
        w.KEY_ROW: geometry.key_blocks_per_row,
        w.VALUE_ROW: geometry.value_blocks_per_row,
        w.KEY_BANKS: org.banks,
        w.VALUE_BANKS: org.banks,
        w.COLUMNS: org.columns,
        w.WORDS: geometry.lane_words,
    }
    if device.level == "buffer":
        every, columns = geometry.interleaved_banks, geometry.key_columns
        values |= {
            w.KEY_BANKS: every if every % columns else every // columns,
            w.VALUE_BANKS: every,
            w.GROUPS: org.bank_groups,
            w.PLACES: org.bank_groups * org.ranks,
        }
    parameters = np.zeros(w.PARAMETERS, dtype=np.int64)
    for index, value in values.items():
        parameters[index] = value
    return parameters


@lru_cache(maxsize=64)
def _tails(device: Device, geometry: Geometry, q_heads: int, longest: int) -> IntArray:
    from pimreplay.cost.walks import all_bank as _walk

    org, moves = device.organisation, moves_of(device)
    score = gemv = [0]
    if device.level != "buffer":
        gemv = list(range(org.ranks * org.bank_groups))
        score = [
            rank * org.bank_groups + group
            for group in range(org.bank_groups)
            for rank in range(org.ranks)
        ]
    parameters = _parameters(device, geometry, q_heads)
    found: IntArray = _walk.tails(
        parameters, np.array(score + gemv), moves.score, moves.gemv_targets, longest
    )
    return found


@lru_cache(maxsize=64)
def _row_times(
    device: Device, geometry: Geometry, q_heads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cycles of a row by its blocks, for keys and for values; see `walk_all_bank`."""
    t, spacing = device.timing, mac_spacing_cycles(device)
    moves = moves_of(device).score

    def switch(reading: int) -> int:
        close = max(t.n_ras_cycles, t.n_rcdrd_cycles + reading + t.n_rtpl_cycles)
        return max(close + t.n_rp_cycles, t.n_rc_cycles)

    values = np.zeros((geometry.value_blocks_per_row + 1, 2), dtype=np.int64)
    for blocks in range(1, geometry.value_blocks_per_row + 1):
        reading = (blocks * q_heads - 1) * spacing
        values[blocks] = switch(reading), reading
    keys = np.zeros((2 * BLOCKS_PER_MOVE, geometry.key_blocks_per_row + 1, 2), dtype=np.int64)
    work = geometry.key_columns * q_heads
    for phase in range(2 * BLOCKS_PER_MOVE):
        for blocks in range(1, geometry.key_blocks_per_row + 1):
            reading = (blocks * work - 1) * spacing
            end = phase + blocks
            # a query head's first move goes to the bank that MACs name: it waits for those that
            # are in the queue, unless it was there already when the row before was closed
            for barrier in range(phase // BLOCKS_PER_MOVE + 1, (end - 1) // BLOCKS_PER_MOVE + 1):
                waiting = q_heads
                if barrier == 1:
                    continue  # the first group has no moves
                if phase % BLOCKS_PER_MOVE and barrier == phase // BLOCKS_PER_MOVE + 1:
                    ahead = (barrier * BLOCKS_PER_MOVE - phase) * work
                    waiting -= min(q_heads, max(0, (QUEUE_ENTRIES - 1 - ahead) // moves + 1))
                reading += max(0, 2 + (waiting - 1) * t.n_ccdl_cycles - spacing)
            keys[phase, blocks] = switch(reading), reading
    return keys.reshape(-1, 2), values
