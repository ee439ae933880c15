"""The cycles of one KV head's attention row by row, derived from the timing table.

Nothing here is fitted: every term is a sum or maximum of named timings, explained in
docs/fidelity.md. `benchmarks/fidelity.py` prints the error against the scheduler.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.cost.counts import Counts, Cycles, count
from pimreplay.cost.walks.bounds import refuse_unwalkable
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Geometry

IntArray = NDArray[np.int64]


def evaluate(geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int) -> tuple[Counts, Cycles]:
    """Count and time reading `blocks` (points, n_blocks) for `q_heads` queries."""
    from pimreplay.cost.walks import parameters as w

    found = np.zeros((w.FIELDS, len(blocks)), dtype=np.int64)
    _WALKS[geometry.hardware.level.walk](geometry, blocks, q_heads, found)
    n, rows = found[w.BLOCKS], found[[w.KEY_ROWS, w.VALUE_ROWS]]
    context = found[w.VALUE_END] - found[w.VALUE_BEGIN]
    score, softmax = found[w.KEY_END], (n > 0).astype(np.int64)
    cycles = Cycles(score, softmax, context, found[w.END] - context - score - softmax)
    return count(geometry, q_heads, n, rows), cycles


def _walk_all_bank(
    geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int, found: IntArray
) -> None:
    from pimreplay.cost.walks import all_bank

    key_row, value_row = geometry.key_blocks_per_row, geometry.value_blocks_per_row
    words, unit = in_words(blocks, key_row, value_row)
    all_bank.walk_all_bank(
        words,
        key_row // unit,
        value_row // unit,
        parameters_of(geometry, q_heads),
        *row_times(geometry, q_heads),
        tails(geometry, q_heads, _longest(geometry, blocks)),
        found,
    )


def _walk_bank_group(
    geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int, found: IntArray
) -> None:
    from pimreplay.cost.walks import bank_group

    parameters = bank_group_parameters(geometry, q_heads, blocks.shape[1])
    tail = tails(geometry, q_heads, _longest(geometry, blocks))
    bank_group.walk_banks(in_words(blocks)[0], parameters, tail, found)
    _add_refreshes(found, geometry, q_heads)


def _walk_buffer(
    geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int, found: IntArray
) -> None:
    from pimreplay.cost.walks import buffer

    parameters = buffer_parameters(geometry, q_heads)
    tail = tails(geometry, q_heads, _longest(geometry, blocks))
    buffer.walk_buffer(in_words(blocks)[0], parameters, tail, found)
    _add_refreshes(found, geometry, q_heads)


_WALKS = {"all_bank": _walk_all_bank, "bank_group": _walk_bank_group, "buffer": _walk_buffer}


def _longest(geometry: Geometry, blocks: NDArray[np.bool_]) -> int:
    """Return the most columns of a GEMV buffer that a point can need, as a power of two."""
    longest = max(1, -(-blocks.shape[1] // geometry.lane_words))
    power: int = 1 << (longest - 1).bit_length()
    return power


def _add_refreshes(found: IntArray, geometry: Geometry, q_heads: int) -> None:
    """Delay what a walk below bank level has found by the refreshes that fall due meanwhile.

    One that falls due between MACs, of which a block has so many, stops them until it is over and
    their row has opened again; so do the other rows that are open for MACs. Beside moves it costs
    what is not over when the values begin.
    """
    from pimreplay.cost.walks import parameters as w

    if not geometry.hardware.refresh:
        return
    timing = geometry.hardware.timing
    key_macs, value_macs = geometry.key_columns * q_heads, geometry.value_slices * q_heads
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


def in_words(blocks: NDArray[np.bool_], *rows: int) -> tuple[NDArray[np.uint64], int]:
    """Return the blocks in words of eight where rows have whole words, else one a word."""
    flat = np.ascontiguousarray(blocks).view(np.uint8)
    if any(row % 8 for row in rows):
        return flat.astype(np.uint64), 1
    missing = -flat.shape[1] % 8
    if missing:
        flat = np.pad(flat, ((0, 0), (0, missing)))
    return flat.view(np.uint64), 8


@lru_cache(maxsize=64)
def parameters_of(geometry: Geometry, q_heads: int) -> IntArray:
    """Return what the walk is told of a device, in the order of its parameters."""
    from pimreplay.cost.walks import parameters as w

    hardware = geometry.hardware
    refuse_unwalkable(hardware)
    t, org, level = hardware.timing, hardware.organisation, hardware.level
    bus = max(t.n_bl_cycles, t.n_ccds_cycles)
    same = max(bus, t.n_ccdl_cycles)

    def pace(bank_groups: list[tuple[int, int]]) -> int:
        """Return the cycles between moves that go round these (rank, bank group)."""
        return max(bus, -(-same // len(set(bank_groups))))

    values = {
        w.SPACING: level.mac_spacing_cycles(t),
        w.BUS: bus,
        w.SAME: same,
        w.SCORE_PACE: pace(level.score_moves(org)),
        w.CONTEXT_PACE: pace([(rank, 0) for _, rank in level.context_moves(org)]),
        w.RTPL: t.n_rtpl_cycles,
        w.RP: t.n_rp_cycles,
        w.RCD: t.n_rcdrd_cycles,
        w.RAS: t.n_ras_cycles,
        w.RC: t.n_rc_cycles,
        w.REFI: t.n_refi_cycles if hardware.refresh else 1 << 60,
        w.RFC: t.n_rfc_cycles,
        w.WRITES: geometry.query_writes * q_heads,
        w.QUERIES: q_heads,
        w.SCORE_MOVES: len(level.score_moves(org)) * q_heads,
        w.CONTEXT_MOVES: len(level.context_moves(org)) * q_heads,
        w.TARGETS: len(level.gemv_targets(org)) * q_heads,
        w.KEY_COLUMNS: geometry.key_columns,
        w.SLICES: geometry.value_slices,
        w.KEY_ROW: geometry.key_blocks_per_row,
        w.VALUE_ROW: geometry.value_blocks_per_row,
        w.KEY_BANKS: org.banks,
        w.VALUE_BANKS: org.banks,
        w.COLUMNS: org.columns,
        w.WORDS: geometry.lane_words,
    }
    parameters = np.zeros(w.PARAMETERS, dtype=np.int64)
    for index, value in values.items():
        parameters[index] = value
    return parameters


def bank_group_parameters(geometry: Geometry, q_heads: int, n_blocks: int) -> IntArray:
    """Return what the walk at bank-group level is told besides: where the values begin."""
    from pimreplay.cost.walks import parameters as w

    parameters = parameters_of(geometry, q_heads).copy()
    parameters[w.VALUE_FIRST] = -(-n_blocks // geometry.key_blocks_per_row)
    parameters[w.SLICE_ROWS] = -(-n_blocks // geometry.value_blocks_per_row)
    return parameters


def buffer_parameters(geometry: Geometry, q_heads: int) -> IntArray:
    """Return what the walk at buffer level is told besides: how columns go round the banks."""
    from pimreplay.cost.walks import parameters as w

    parameters = parameters_of(geometry, q_heads).copy()
    every, columns = geometry.interleaved_banks, geometry.key_columns
    org = geometry.hardware.organisation
    parameters[w.VALUE_FIRST] = parameters[w.SLICE_ROWS] = 1 << 20  # beyond every key
    parameters[w.KEY_BANKS] = every if every % columns else every // columns
    parameters[w.VALUE_BANKS] = every
    parameters[w.BANK_GROUPS] = org.bank_groups
    parameters[w.PLACES] = org.bank_groups * org.ranks
    return parameters


@lru_cache(maxsize=64)
def tails(geometry: Geometry, q_heads: int, longest: int) -> IntArray:
    """Return what follows the keys' last MAC, by the columns of a GEMV buffer; see the walks."""
    from pimreplay.cost.walks.softmax import softmax_times

    org, level = geometry.hardware.organisation, geometry.hardware.level
    score, gemv = level.score_moves(org), level.gemv_targets(org)
    groups = np.array([rank * org.bank_groups + group for rank, group in score + gemv])
    parameters = parameters_of(geometry, q_heads)
    found: IntArray = softmax_times(parameters, groups, len(score), len(gemv), longest)
    return found


@lru_cache(maxsize=64)
def row_times(geometry: Geometry, q_heads: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cycles of a row by its blocks, for keys and for values; see `walk_all_bank`."""
    hardware = geometry.hardware
    t, level = hardware.timing, hardware.level
    spacing, moves = level.mac_spacing_cycles(t), len(level.score_moves(hardware.organisation))

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
