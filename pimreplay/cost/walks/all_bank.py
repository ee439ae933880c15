"""One KV head's step where every MAC is for all banks, walked from row to row, compiled.

The scheduler decides cycle by cycle; the walks decide row by row, and keep what binds the
controller: when a request enters the queue, when its row can be open, when the bus is free and, at
bank level, when a refresh falls due; below it `analytic` adds refreshes afterwards.
docs/fidelity.md states the rules.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.compiled import kernel

FIELDS = 9
BLOCKS, KEY_ROWS, VALUE_ROWS, KEY_END, VALUE_BEGIN, VALUE_END, END = range(7)
"""Of a point: blocks read; rows opened for keys, for values; cycles of the last key's MAC, the
first and the last value's MAC, and the last move."""
KEY_OPEN, VALUE_OPEN = range(7, 9)
"""Below bank level: rows that are open for a MAC and those behind it, summed over the MACs."""

(
    SPACING,  # MAC to MAC
    BUS,  # move to move: to other bank groups, and to the same one
    SAME,
    SCORE_PACE,  # move to move, as moves of scores and of sums go round the bank groups
    CONTEXT_PACE,
    RTPL,  # MAC to precharge
    RP,  # precharge to activate
    RCD,  # activate to MAC
    RAS,  # activate to precharge
    RC,  # activate to activate
    REFI,  # bank level: from refresh to refresh, and refresh to activate
    RFC,
    WRITES,  # of queries, all to one bank group
    QUERIES,
    SCORE_MOVES,  # moves after a group of blocks, a slice of values, all query heads together
    CONTEXT_MOVES,
    TARGETS,  # GEMV buffers times query heads
    KEY_COLUMNS,
    KEY_ROW,  # blocks of a row
    VALUE_ROW,
    SLICES,
    KEY_BANKS,  # sets of banks that rows go round
    VALUE_BANKS,
    VALUE_FIRST,  # first row of values, and rows from slice to slice
    SLICE_ROWS,
    GROUPS,  # buffer level: bank groups of a rank and of all ranks; else 0
    PLACES,
    COLUMNS,  # of a row
    WORDS,  # elements of a column
) = range(29)
PARAMETERS = 29

WINDOW = 33
"""Requests that the controller sees."""
GROUP = 16
"""Blocks scored between two barriers."""
NEVER = 1 << 60
ONES = np.uint64(0x0101010101010101)


@kernel()
def tails(parameters, groups, score_moves, targets, longest):
    """Return what lies between the products, for 1 to `longest` columns a GEMV buffer.

    Moves of the last scores, softmax, probabilities to each GEMV buffer in turn, one query head
    after the other; the controller serves the oldest ready one of those it sees. (longest + 1, 2):
    cycles after the last key's MAC at which the barrier falls, and at which the first request
    behind it is seen. `groups` is the bank group of each score move and of each buffer.
    """
    bus, same, queries = parameters[BUS], parameters[SAME], parameters[QUERIES]
    found = np.zeros((longest + 1, 2), dtype=np.int64)
    ready = np.zeros(groups.max() + 1, dtype=np.int64)
    window = np.zeros(WINDOW, dtype=np.int64)
    for each in range(1, longest + 1):
        moves = queries * score_moves
        total = moves + queries + queries * targets * each
        ready[:] = 0
        free = np.int64(0)
        clock = np.int64(0)
        seen = np.int64(0)
        held = 0
        following = 0
        while held or following < total:
            while held < WINDOW and following < total:
                if following < moves:
                    window[held] = groups[following % score_moves]
                elif following < moves + queries:
                    window[held] = -1
                else:
                    at = (following - moves - queries) // each % targets
                    window[held] = groups[score_moves + at]
                held += 1
                following += 1
            if held < WINDOW and seen == 0:
                seen = max(clock, 1)
            clock += 1
            best = -1
            soonest = np.int64(NEVER)
            for i in range(held):
                group = window[i]
                when = clock if group < 0 else max(free, ready[group])
                soonest = min(soonest, when)
                if when <= clock:
                    best = i
                    break
            if best < 0:
                clock = soonest - 1
                continue
            group = max(window[best], 0)
            ready[group] = clock + same
            free = clock + bus
            held -= 1
            for i in range(best, held):
                window[i] = window[i + 1]
        found[each, 0] = clock + 1
        found[each, 1] = seen + 1
    return found


@kernel(forceinline=True)
def _refreshes(begin, before, served, interval, cost):
    """Return how many more refreshes fall due before a row opens `before` after `begin`.

    The r-th more is due at (served + r) intervals, when r - 1 have delayed everything.
    """
    if begin + before <= (served + 1) * interval:
        return np.int64(0)
    room = begin + before - cost - served * interval
    return max(np.int64(1), -(-room // (interval - cost)) - 1)


@kernel()
def walk_all_bank(words, key_words, value_words, p, key_time, value_time, tail, found):
    """Walk points (points, words) where every MAC and activation is for all banks.

    One row is open at a time, so that a product's time is a sum over its rows: `key_time` (phase by
    blocks of the row, 2) and `value_time` (blocks of the row, 2) are the cycles from its first MAC
    to the next row's, and to its last MAC. The phase is the number of blocks before the row: in the
    first group, and in later ones counted from their barrier, then GROUP more.
    """
    points, n_words = words.shape
    queries, spacing, bus, same = p[QUERIES], p[SPACING], p[BUS], p[SAME]
    refresh = p[RFC] + 1 - p[RP]
    late = max(np.int64(0), p[WRITES] + 2 - WINDOW)
    first_open = 1 if late == 0 else 2 + (late - 1) * same
    start = max(2 + (p[WRITES] - 1) * same, first_open + p[RCD])
    key_work = p[KEY_COLUMNS] * queries
    key_width = p[KEY_ROW] + 1
    upto = np.zeros(n_words + max(key_words, value_words) + 1, dtype=np.int64)
    n_key_rows, n_value_rows = -(-n_words // key_words), -(-n_words // value_words)
    key_step, value_step = np.uint64(key_words), np.uint64(value_words)  # no sign, no check
    for point in range(points):
        n = np.int64(0)
        for i in range(n_words):  # the product's top byte is the sum of a word's eight
            upto[i] = n
            n += np.int64((words[point, i] * ONES) >> np.uint64(56))
        upto[n_words:] = n
        rows = np.int64(0)
        span = np.int64(0)
        first = np.int64(0)
        code = np.uint64(0)
        before, at = np.int64(0), np.uint64(0)
        for _ in range(n_key_rows):
            at += key_step
            blocks = upto[at] - before
            group = before if before < GROUP else GROUP + (before & (GROUP - 1))
            here = np.uint64(group * key_width + blocks)  # no sign: it needs no check
            span += key_time[here, 0]  # 0 for an empty row: a branch would cost more
            rows += blocks > 0
            first = blocks if before == 0 else first
            code = here if blocks > 0 else code
            before += blocks
        last = np.int64(code) % key_width
        value_rows = np.int64(0)
        value_span = np.int64(0)
        value_last = np.int64(0)
        before, at = np.int64(0), np.uint64(0)
        for _ in range(n_value_rows):
            at += value_step
            blocks = upto[at] - before
            before += blocks
            value_span += value_time[np.uint64(blocks), 0]
            value_rows += blocks > 0
            value_last = blocks if blocks > 0 else value_last
        found[BLOCKS, point] = n
        found[KEY_ROWS, point] = rows
        found[VALUE_ROWS, point] = value_rows * p[SLICES]
        if n == 0:
            found[KEY_END:, point] = 0
            continue

        # keys; the first row opens under the queries' writes
        reading = key_time[code, 1]
        span -= key_time[code, 0]
        opened = first_open
        if rows > 1:
            done = start + key_time[first, 1] + p[RTPL]
            switch = max(max(first_open + p[RAS], done) + p[RP], first_open + p[RC])
            span += switch + p[RCD] - start - key_time[first, 0]
            opened = start + span - p[RCD]
        served = _refreshes(np.int64(0), start + span - p[RCD], np.int64(0), p[REFI], refresh)
        if rows == 1:
            served = np.int64(0)
        opened += served * refresh
        end = start + span + reading + served * refresh
        found[KEY_END, point] = end

        # the last full group's moves may still be going on
        over = np.int64(0)
        if n > GROUP:
            behind = (n - 1) // GROUP * GROUP
            here = (n - behind) * key_work
            begin = end - (here - 1) * spacing
            over = max(np.int64(0), begin + p[SCORE_MOVES] * p[SCORE_PACE] - end)
            if here <= last * key_work:  # the last row was open throughout, moves to its bank wait
                over = max(over, 2 + (queries - 1) * same - bus)
        each = -(-n // p[WORDS])
        fall = end + over + tail[each, 0]
        seen = end + over + tail[each, 1]
        close = max(seen, end + p[RTPL], opened + p[RAS])
        due = (served + 1) * p[REFI]
        opened = max(close + p[RP], opened + p[RC])
        begin = max(fall, opened + p[RCD])
        if due < opened or max(due, opened + p[RAS]) < begin:
            served += 1
            closed = due if due >= close else max(due, end + p[RTPL]) + 1
            if due >= opened:
                closed = max(due, opened + p[RAS]) + 1
            opened = closed + p[RFC]
            begin = max(begin, opened + p[RCD])
        found[VALUE_BEGIN, point] = begin

        # values, slice by slice, each with the moves of the one before
        reading = value_time[value_last, 1]
        switch = value_time[value_last, 0]
        inner = value_span - switch + reading
        done = np.int64(0)
        end = begin + inner
        for _ in range(1, p[SLICES]):
            passed = max(end, done)
            done = passed + 1 + (p[CONTEXT_MOVES] - 1) * p[CONTEXT_PACE]
            end = max(end - reading + switch, passed + 1) + inner
        before = end - reading - p[RCD] - begin
        if before > 0:
            delay = _refreshes(begin, before, served, p[REFI], refresh) * refresh
            end += delay
            done += delay
        found[VALUE_END, point] = end
        found[END, point] = (
            max(end + 1, done + p[CONTEXT_PACE]) + (p[CONTEXT_MOVES] - 1) * p[CONTEXT_PACE]
        )
