"""One KV head's step where a MAC is for one bank of each pseudo-channel, compiled; no refresh.

Consecutive columns go round the banks, so that a row of all of them is read at once and dozens of
banks close and open over one row bus. Bit sets of cycles say when that bus and the MAC bus are
taken. A slice of values that takes as long as the one before will do so again.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w
from pimreplay.cost.walks.buffer_rows import read_row
from pimreplay.cost.walks.buffer_state import (
    ACTIVATED,
    CLEAR,
    HOLD,
    LAST,
    MASKS,
    OPEN,
    SINCE,
    STATE,
    UNTIL,
    mac_masks,
    times_of,
)
from pimreplay.cost.walks.buses import WORDS
from pimreplay.cost.walks.queue import QUEUE, enter, hand_over, write_queries
from pimreplay.cost.walks.steps import (
    FREE,
    begin_point,
    mix,
    note_keys,
    note_values,
    repeats,
)


@kernel()
def walk_buffer(blocks, p, softmax, found):
    """Walk points (points, words) whose MACs are for one bank of each pseudo-channel."""
    s = np.zeros(STATE, dtype=np.int64)
    queue = np.zeros(QUEUE, dtype=np.int64)
    bits = np.zeros(2 * WORDS, dtype=np.uint64)
    masks = np.zeros(MASKS, dtype=np.uint64)
    mac_masks(masks, p)
    t = times_of(p)
    chosen = np.zeros(blocks.shape[1] * 8, dtype=np.int64)
    for point in range(len(blocks)):
        n = begin_point(blocks, point, s, chosen, found)
        if n == 0:
            continue
        _close_banks(s, bits, p)
        start = write_queries(queue, p)
        end, done = _read_keys(s, queue, bits, masks, chosen, n, p, t, start)
        note_keys(found, point, s, end)
        start = hand_over(queue, p, softmax, n, end, done)
        found[w.VALUE_BEGIN, point] = start
        end, done = _read_values(s, queue, bits, masks, chosen, n, p, t, start)
        note_values(found, point, s, p, end, done)


@kernel(forceinline=True, _nrt=False)
def _close_banks(s, bits, p):
    """Free the buses and close the banks, before the first cycle."""
    for i in range(2 * WORDS):
        bits[i] = 0
    s[CLEAR] = WORDS
    for bank in range(p[w.VALUE_BANKS]):
        s[ACTIVATED + bank] = -p[w.RC]
        s[LAST + bank] = s[HOLD + bank] = 0
        s[OPEN + bank] = -1
    for place in range(p[w.PLACES]):
        s[SINCE + place] = s[UNTIL + place] = -w.NEVER


@kernel(forceinline=True, _nrt=False)
def _read_keys(s, queue, bits, masks, chosen, n, p, t, start):
    """Read keys, 16 blocks at a time; return the ends of MACs and of the moves beside them."""
    columns, width = p[w.KEY_COLUMNS], p[w.VALUE_BANKS] // p[w.KEY_BANKS]
    done = passed = begin = np.int64(0)
    while True:
        stop = min(begin + w.BLOCKS_PER_MOVE, n)
        end = _read(s, queue, bits, masks, chosen, begin, stop, columns, width, 0, start, t)
        if begin:
            done = passed + 1 + (p[w.SCORE_MOVES] - 1) * p[w.SCORE_PACE]
        passed = max(end, done)
        begin = stop
        if begin == n:
            return end, done
        enter(queue, passed, 1, 0)
        start = passed + 1


@kernel(forceinline=True, _nrt=False)
def _read_values(s, queue, bits, masks, chosen, n, p, t, start):
    """Read values, slice by slice; return the ends of MACs and of the moves beside them."""
    done, passed, end = np.int64(0), start - 1, np.int64(0)
    for part in range(1, p[w.SLICES] + 1):
        row = p[w.VALUE_FIRST] + part * p[w.SLICE_ROWS]
        end = _read(s, queue, bits, masks, chosen, 0, n, 1, 1, row, start, t)
        if part > 1:
            done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * p[w.CONTEXT_PACE]
        lasted = max(end, done) - passed
        passed += lasted
        start = passed + 1
        rest = p[w.SLICES] - part
        if rest:
            enter(queue, passed, 1, 0)
        few = n * p[w.QUERIES] < QUEUE_ENTRIES
        left_so = _left_so(s, mix(np.int64(0), lasted if few else 0), p, row, passed)
        if repeats(s, left_so, rest, True):
            return end + rest * lasted, done + rest * lasted
    return end, done


@kernel(forceinline=True, _nrt=False)
def _left_so(s, left_so, p, first_row, passed):
    """Return a number for how a slice leaves the banks and the bus, seen from its end."""
    left_so = mix(left_so, s[FREE] - passed)
    for bank in range(p[w.VALUE_BANKS]):
        if s[OPEN + bank] >= first_row:
            left_so = mix(left_so, s[ACTIVATED + bank] - passed)
            left_so = mix(left_so, s[LAST + bank] - passed)
            held_until = max(s[HOLD + bank], s[LAST + bank])  # an older one binds nothing
            left_so = mix(left_so, held_until - passed)
    return left_so


@kernel(forceinline=True, _nrt=False)
def _read(s, queue, bits, masks, chosen, begin, stop, columns, width, first_row, start, t):
    """Read blocks, row after row of all banks; return the last MAC's cycle."""
    s[FREE] = max(s[FREE], start)
    end = start
    first = begin
    while first < stop:
        row = chosen[first] * columns >> t.row_shift
        until = first + 1
        while until < stop and chosen[until] * columns >> t.row_shift == row:
            until += 1
        last = read_row(
            s, queue, bits, masks, chosen, first, until, columns, width, first_row, start, t
        )
        end = max(end, last)
        first = until
    return end
