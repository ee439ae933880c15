"""One KV head's step where a MAC is for the same bank of each bank group, compiled; no refresh.

A *run* is what the blocks of a row ask of one set of banks. Runs are walked in the order of their
requests. Each is seen when the queue has room, opens its row when the bank lets it, and reads
where the MAC bus is free: also in gaps that older runs leave while they wait for theirs. A slice of
values that takes as long as the one before will do so again. The row bus is left out: four sets of
banks hardly take it.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w
from pimreplay.cost.walks.bounds import MOST_BANKS
from pimreplay.cost.walks.queue import QUEUE, enter, hand_over, see, write_queries
from pimreplay.cost.walks.steps import (
    FREE,
    OPEN_ROWS,
    OPENED,
    REGISTERS,
    begin_point,
    mix,
    note_keys,
    note_values,
    repeats,
)

MOST_GAPS = 40
# of each set of banks: its activate, its last MAC, its open row; then begin and end of each gap
ACTIVATED, LAST, OPEN, GAP = (REGISTERS + MOST_BANKS * i for i in range(4))
GAPS = GAP + 2 * MOST_GAPS + 2
STATE = GAPS + 1


@kernel()
def walk_banks(blocks, p, softmax, found):
    """Walk points (points, words) whose MACs are for the same bank of each bank group."""
    s = np.zeros(STATE, dtype=np.int64)
    queue = np.zeros(QUEUE, dtype=np.int64)
    chosen = np.zeros(blocks.shape[1] * 8, dtype=np.int64)
    for point in range(len(blocks)):
        n = begin_point(blocks, point, s, chosen, found)
        if n == 0:
            continue
        s[GAPS] = 0
        for bank in range(p[w.KEY_BANKS]):
            s[ACTIVATED + bank] = s[LAST + bank] = 0
            s[OPEN + bank] = -1
        start = write_queries(queue, p)
        end, done = _read_keys(s, queue, chosen, n, p, start)
        note_keys(found, point, s, end)
        start = hand_over(queue, p, softmax, n, end, done)
        found[w.VALUE_BEGIN, point] = start
        end, done = _read_values(s, queue, chosen, n, p, start)
        note_values(found, point, s, p, end, done)


@kernel(forceinline=True, _nrt=False)
def _read_keys(s, queue, chosen, n, p, start):
    """Read keys, 16 blocks at a time; return the ends of MACs and of the moves beside them."""
    each = p[w.QUERIES] * p[w.KEY_COLUMNS]
    done = passed = begin = np.int64(0)
    while True:
        stop = min(begin + w.BLOCKS_PER_MOVE, n)
        end, bank = _read(s, queue, chosen, begin, stop, p, p[w.KEY_ROW], each, 0, start)
        if begin:
            done = passed + 1 + (p[w.SCORE_MOVES] - 1) * p[w.SCORE_PACE]
            if bank == 0:  # moves to its bank wait
                done = max(done, end + 1 + (p[w.QUERIES] - 1) * p[w.SAME])
        passed = max(end, done)
        begin = stop
        if begin == n:
            return end, done
        enter(queue, passed, 1, 0)
        start = passed + 1


@kernel(forceinline=True, _nrt=False)
def _read_values(s, queue, chosen, n, p, start):
    """Read values, slice by slice; return the ends of MACs and of the moves beside them."""
    # banks by which a slice lies on from the one before, bit by bit the lowest: none ends in bank 0
    turn = p[w.SLICE_ROWS] & (p[w.KEY_BANKS] - 1)
    turn &= -turn
    done, passed, end = np.int64(0), start - 1, np.int64(0)
    for part in range(p[w.SLICES]):
        row = p[w.VALUE_FIRST] + part * p[w.SLICE_ROWS]
        end, bank = _read(s, queue, chosen, 0, n, p, p[w.VALUE_ROW], p[w.QUERIES], row, start)
        if part:
            done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * p[w.CONTEXT_PACE]
            if bank == 0 and s[ACTIVATED] <= passed:
                done = max(done, end + 1 + (p[w.QUERIES] - 1) * p[w.SAME])
        lasted = max(end, done) - passed
        passed += lasted
        start = passed + 1
        rest = p[w.SLICES] - 1 - part
        if rest:
            enter(queue, passed, 1, 0)
        few = n * p[w.QUERIES] < QUEUE_ENTRIES
        left_so = _left_so(s, mix(np.int64(0), lasted if few else 0), p, row, passed)
        if repeats(s, left_so, rest, turn == 0 or bank & (turn - 1) != 0):
            return end + rest * lasted, done + rest * lasted
    return end, done


@kernel(forceinline=True, _nrt=False)
def _left_so(s, left_so, p, first_row, passed):
    """Return a number for how a slice leaves the banks and the bus, seen from its end."""
    n_banks = p[w.KEY_BANKS]
    bank_shift = np.int64(lowest_bit(np.uint64(n_banks)))
    left_so = mix(left_so, s[FREE] - passed)
    for k in range(n_banks):
        other = (first_row + k) & (n_banks - 1)
        if (s[OPEN + other] << bank_shift) + other >= first_row - p[w.SLICE_ROWS]:
            left_so = mix(left_so, s[ACTIVATED + other] - passed)
            left_so = mix(left_so, s[LAST + other] - passed)
    for gap in range(2 * s[GAPS]):
        left_so = mix(left_so, s[GAP + gap] - passed)
    return left_so


@kernel(forceinline=True, _nrt=False)
def _read(s, queue, chosen, begin, stop, p, per_row, each, first_row, start):
    """Read blocks, run by run; return the last MAC's cycle and the last run's bank."""
    n_banks = p[w.KEY_BANKS]
    bank_shift = np.int64(lowest_bit(np.uint64(n_banks)))
    s[FREE] = max(s[FREE], start)
    end = start
    bank = np.int64(0)
    i = begin
    while i < stop:
        row = chosen[i] // per_row
        limit = (row + 1) * per_row
        first = i
        while i < stop and chosen[i] < limit:
            i += 1
        work = (i - first) * each
        row += first_row
        bank = row & (n_banks - 1)
        seen = see(queue)
        _forget_gaps(s, seen)
        ready = max(start, _open(s, p, bank, row >> bank_shift, seen))
        # rows of other banks open while fewer than a window of this one's are left
        s[OPEN_ROWS] += min(work + QUEUE_ENTRIES, n_banks * work)
        last = _place(s, p[w.SPACING], ready, work)
        s[LAST + bank] = max(s[LAST + bank], last)
        enter(queue, last, work, p[w.SPACING])
        end = max(end, last)
    return end, bank


@kernel(forceinline=True, _nrt=False)
def _open(s, p, bank, wanted, seen):
    """Open a row as soon as its bank lets it; return the cycle from which it can be read."""
    activated = s[ACTIVATED + bank]
    if s[OPEN + bank] == wanted:
        return max(seen, activated + p[w.RCD])
    cycle = seen
    if s[OPEN + bank] >= 0:
        close = max(seen, activated + p[w.RAS], s[LAST + bank] + p[w.RTPL])
        cycle = max(close + p[w.RP], activated + p[w.RC])
    s[ACTIVATED + bank] = cycle
    s[OPEN + bank] = wanted
    s[OPENED] += 1
    return cycle + p[w.RCD]


@kernel(forceinline=True, _nrt=False)
def _forget_gaps(s, seen):
    """Forget the gaps that end before anything can still be put into them."""
    past = 0
    while past < s[GAPS] and s[GAP + 2 * past + 1] <= seen:
        past += 1
    if past:
        s[GAPS] -= past
        for i in range(GAP, GAP + 2 * s[GAPS]):
            s[i] = s[i + 2 * past]


@kernel(forceinline=True, _nrt=False)
def _place(s, spacing, ready, work):
    """Put MACs where the bus is free from a cycle on; return the last one's cycle."""
    gaps, free = s[GAPS], s[FREE]
    end = np.int64(0)
    i = 0
    while i < gaps and work:
        at = GAP + 2 * i
        if ready >= s[at + 1]:
            i += 1
            continue
        begin = max(s[at], ready)
        here = min(work, (s[at + 1] - begin + spacing - 1) // spacing)
        work -= here
        end = begin + (here - 1) * spacing
        left = s[at + 1] - end - spacing
        before = begin > s[at]
        if left <= 0:  # the MACs behind the gap move on
            free -= left
        if before and left > 0 and gaps < MOST_GAPS:
            for j in range(GAP + 2 * gaps + 1, at + 1, -1):
                s[j] = s[j - 2]
            s[at + 1] = begin
            s[at + 2] = end + spacing
            gaps += 1
        elif left > 0:
            s[at] = end + spacing
        elif before:
            s[at + 1] = begin
        else:
            gaps -= 1
            for j in range(at, GAP + 2 * gaps):
                s[j] = s[j + 2]
            continue
        i += 1
    if work:
        begin = max(ready, free)
        if begin > free and gaps < MOST_GAPS:
            s[GAP + 2 * gaps], s[GAP + 2 * gaps + 1] = free, begin
            gaps += 1
        end = begin + (work - 1) * spacing
        free = end + spacing
    s[GAPS], s[FREE] = gaps, free
    return end
