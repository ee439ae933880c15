"""One KV head's step where every MAC is for all banks, walked from row to row, compiled.

The scheduler decides cycle by cycle; the walks decide row by row, and keep what binds the
controller: when a request enters the queue, when its row can be open, when the bus is free and, at
bank level, when a refresh falls due; below it `analytic` adds refreshes afterwards.
docs/fidelity.md states the rules.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w

ONES = np.uint64(0x0101010101010101)


@kernel()
def walk_all_bank(words, key_words, value_words, p, key_time, value_time, softmax, found):
    """Walk points (points, words) where every MAC and activation is for all banks.

    One row is open at a time, so that a product's time is a sum over its rows: `key_time` (phase by
    blocks of the row, 2) and `value_time` (blocks of the row, 2) are the cycles from its first MAC
    to the next row's, and to its last MAC. The phase is the number of blocks before the row: in the
    first 16, and in later ones counted from their barrier, then 16 more.
    """
    n_words = words.shape[1]
    # the first row opens under the queries' writes
    late = max(np.int64(0), p[w.WRITES] + 2 - QUEUE_ENTRIES)
    first_open = 1 if late == 0 else 2 + (late - 1) * p[w.SAME]
    start = max(2 + (p[w.WRITES] - 1) * p[w.SAME], first_open + p[w.RCD])
    n_key_rows, n_value_rows = -(-n_words // key_words), -(-n_words // value_words)
    upto = np.zeros(n_words + max(key_words, value_words) + 1, dtype=np.int64)
    for point in range(len(words)):
        n = _count_upto(words, point, upto)
        rows, first, last, span, reading = _key_rows(upto, n_key_rows, key_words, p, key_time)
        value_rows, inner, switch, value_reading = _value_rows(
            upto, n_value_rows, value_words, value_time
        )
        found[w.BLOCKS, point] = n
        found[w.KEY_ROWS, point] = rows
        found[w.VALUE_ROWS, point] = value_rows * p[w.SLICES]
        if n == 0:
            found[w.KEY_END :, point] = 0
            continue
        end, opened, served = _read_keys(p, rows, first, span, reading, key_time, first_open, start)
        found[w.KEY_END, point] = end
        seen, begin = _softmax(p, n, last, end, softmax)
        begin, served = _open_values(p, end, seen, begin, opened, served)
        found[w.VALUE_BEGIN, point] = begin
        end, done = _read_values(p, begin, inner, switch, value_reading, served)
        pace = p[w.CONTEXT_PACE]
        found[w.VALUE_END, point] = end
        found[w.END, point] = max(end + 1, done + pace) + (p[w.CONTEXT_MOVES] - 1) * pace


@kernel(forceinline=True, _nrt=False)
def _count_upto(words, point, upto):
    """Sum up the blocks before each word; return how many there are."""
    n = np.int64(0)
    n_words = words.shape[1]
    for i in range(n_words):  # the product's top byte is the sum of a word's eight
        upto[i] = n
        n += np.int64((words[point, i] * ONES) >> np.uint64(56))
    upto[n_words:] = n
    return n


@kernel(forceinline=True, _nrt=False)
def _key_rows(upto, n_rows, key_words, p, key_time):
    """Return of the keys' rows: how many, blocks of the first and last, cycles to it and in it."""
    key_step = np.uint64(key_words)  # no sign, no check
    key_width = p[w.KEY_ROW] + 1
    rows = span = first = before = np.int64(0)
    code = at = np.uint64(0)
    for _ in range(n_rows):
        at += key_step
        blocks = upto[at] - before
        many = before >= w.BLOCKS_PER_MOVE
        phase = w.BLOCKS_PER_MOVE + (before & (w.BLOCKS_PER_MOVE - 1)) if many else before
        here = np.uint64(phase * key_width + blocks)  # no sign: it needs no check
        span += key_time[here, 0]  # 0 for an empty row: a branch would cost more
        rows += blocks > 0
        first = blocks if before == 0 else first
        code = here if blocks > 0 else code
        before += blocks
    return rows, first, np.int64(code) % key_width, span - key_time[code, 0], key_time[code, 1]


@kernel(forceinline=True, _nrt=False)
def _value_rows(upto, n_rows, value_words, value_time):
    """Return of a slice's rows: how many, cycles of all, to the next slice's, and of the last's."""
    value_step = np.uint64(value_words)
    rows = span = last = before = np.int64(0)
    at = np.uint64(0)
    for _ in range(n_rows):
        at += value_step
        blocks = upto[at] - before
        before += blocks
        span += value_time[np.uint64(blocks), 0]
        rows += blocks > 0
        last = blocks if blocks > 0 else last
    switch, reading = value_time[last, 0], value_time[last, 1]
    return rows, span - switch + reading, switch, reading


@kernel(forceinline=True, _nrt=False)
def _read_keys(p, rows, first, span, reading, key_time, opened, start):
    """Return the last key's MAC, the activate of its row, and the refreshes until then.

    The first row opens at `opened` and its first MAC is at `start`.
    """
    refresh = p[w.RFC] + 1 - p[w.RP]
    served = np.int64(0)
    if rows > 1:
        done = start + key_time[first, 1] + p[w.RTPL]
        switch = max(max(opened + p[w.RAS], done) + p[w.RP], opened + p[w.RC])
        span += switch + p[w.RCD] - start - key_time[first, 0]
        opened = start + span - p[w.RCD]
        served = _refreshes(np.int64(0), opened, np.int64(0), p[w.REFI], refresh)
    return start + span + reading + served * refresh, opened + served * refresh, served


@kernel(forceinline=True, _nrt=False)
def _softmax(p, n, last, end, softmax):
    """Return when the first request behind the softmax is seen, and when values may be read."""
    over = np.int64(0)
    if n > w.BLOCKS_PER_MOVE:  # the last whole group's moves may still be going on
        key_work = p[w.KEY_COLUMNS] * p[w.QUERIES]
        here = (((n - 1) & (w.BLOCKS_PER_MOVE - 1)) + 1) * key_work
        begin = end - (here - 1) * p[w.SPACING]
        over = max(np.int64(0), begin + p[w.SCORE_MOVES] * p[w.SCORE_PACE] - end)
        if here <= last * key_work:  # the last row was open throughout, moves to its bank wait
            over = max(over, 2 + (p[w.QUERIES] - 1) * p[w.SAME] - p[w.BUS])
    each = -(-n // p[w.WORDS])
    return end + over + softmax[each, 1], end + over + softmax[each, 0]


@kernel(forceinline=True, _nrt=False)
def _open_values(p, end, seen, begin, opened, served):
    """Return the first value's MAC and the refreshes until then; one may fall due meanwhile."""
    close = max(seen, end + p[w.RTPL], opened + p[w.RAS])
    due = (served + 1) * p[w.REFI]
    opened = max(close + p[w.RP], opened + p[w.RC])
    begin = max(begin, opened + p[w.RCD])
    if due < opened or max(due, opened + p[w.RAS]) < begin:
        served += 1
        closed = due if due >= close else max(due, end + p[w.RTPL]) + 1
        if due >= opened:
            closed = max(due, opened + p[w.RAS]) + 1
        begin = max(begin, closed + p[w.RFC] + p[w.RCD])
    return begin, served


@kernel(forceinline=True, _nrt=False)
def _read_values(p, begin, inner, switch, reading, served):
    """Return the last value's MAC and the last moves beside values, slice by slice.

    A slice takes `inner` cycles from its first MAC to its last, and `switch` from the first MAC in
    its last row, which is `reading` cycles before the last, to the next slice's.
    """
    done = np.int64(0)
    end = begin + inner
    for _ in range(1, p[w.SLICES]):
        passed = max(end, done)
        done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * p[w.CONTEXT_PACE]
        end = max(end - reading + switch, passed + 1) + inner
    before = end - reading - p[w.RCD] - begin
    if before > 0:
        refresh = p[w.RFC] + 1 - p[w.RP]
        delay = _refreshes(begin, before, served, p[w.REFI], refresh) * refresh
        end += delay
        done += delay
    return end, done


@kernel(forceinline=True, _nrt=False)
def _refreshes(begin, before, served, interval, cost):
    """Return how many more refreshes fall due before a row opens `before` after `begin`.

    The r-th more is due at (served + r) intervals, when r - 1 have delayed everything.
    """
    if begin + before <= (served + 1) * interval:
        return np.int64(0)
    room = begin + before - cost - served * interval
    return max(np.int64(1), -(-room // (interval - cost)) - 1)
