"""One KV head's step where rows of different banks are open at once, compiled.

A *run* is what the blocks of a row, or the columns of a block, ask of one set of banks. Runs are
walked in the order of their requests. Each is seen when the queue has room, opens its row when the
bank and the row bus let it, and reads where the MAC bus is free: also in gaps that older runs leave
while they wait for theirs.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc"

import numpy as np
from numba import njit

from pimreplay import _walk as w

ROOM = 64
"""Runs of the queue, each an entry or more, and those that have left since it was last packed."""
MOST_GAPS = 40
CALENDAR = 1024
"""Cycles of the row bus that are kept in mind."""
ROW_CYCLES = 2
"""Cycles of the row bus that an activate takes."""
MOST_BANKS = 256

# one array holds the state
(
    FREE,  # when the MAC bus is free for good
    GAPS,  # gaps in it before that
    HELD,  # requests in the queue
    HEAD,  # the queue's runs, in the order in which they leave
    TAIL,
    REFRESH,  # the next one
    SHUT,  # no row opens before this cycle
    OPENED,  # rows opened
    LAST_BANK,
) = range(9)
GAP = 16  # begin and end of each
LEAVE = GAP + 2 * MOST_GAPS + 2  # cycle of a run's last entry, entries, and cycles between them
COUNT = LEAVE + ROOM + 1
PACE = COUNT + ROOM + 1
TAKEN = PACE + ROOM + 1
READING = TAKEN + CALENDAR  # likewise of the MAC bus
ACTIVATED = READING + CALENDAR  # of each set of banks: its activate, its last MAC, its open row,
LAST = ACTIVATED + MOST_BANKS
ROW = LAST + MOST_BANKS
HOLD = ROW + MOST_BANKS  # and the last MAC elsewhere that keeps it open
PLACE = HOLD + MOST_BANKS  # of each bank group: its last MAC
SIZE = PLACE + MOST_BANKS


@njit(cache=True, forceinline=True, error_model="numpy")
def _enter(s, cycle, entries, pace):
    """Put entries into the queue that leave `pace` apart until `cycle`."""
    if s[TAIL] == ROOM:
        kept = s[TAIL] - s[HEAD]
        for i in range(kept):
            for field in (LEAVE, COUNT, PACE):
                s[field + i] = s[field + s[HEAD] + i]
        s[HEAD] = 0
        s[TAIL] = kept
    at = s[TAIL]
    while at > s[HEAD] and s[LEAVE + at - 1] > cycle:
        s[LEAVE + at] = s[LEAVE + at - 1]
        s[COUNT + at] = s[COUNT + at - 1]
        s[PACE + at] = s[PACE + at - 1]
        at -= 1
    s[LEAVE + at] = cycle
    s[COUNT + at] = entries
    s[PACE + at] = pace
    s[TAIL] += 1
    s[HELD] += entries


@njit(cache=True, forceinline=True, error_model="numpy")
def _seen(s):
    """Return the cycle at which the next request is in the queue."""
    cycle = np.int64(0)
    missing = s[HELD] + 1 - w.WINDOW
    while missing > 0:
        at = s[HEAD]
        leaving = min(s[COUNT + at], missing)
        s[COUNT + at] -= leaving
        cycle = max(cycle, s[LEAVE + at] - s[COUNT + at] * s[PACE + at])
        s[HELD] -= leaving
        missing -= leaving
        if s[COUNT + at] == 0:
            s[HEAD] += 1
    return cycle + 1


@njit(cache=True, forceinline=True, error_model="numpy")
def _take(s, cycle, length):
    """Take the row bus from a cycle on, for one or two cycles; return the first."""
    last = length - 1
    while (
        s[TAKEN + (cycle & (CALENDAR - 1))] == cycle
        or s[TAKEN + ((cycle + last) & (CALENDAR - 1))] == cycle + last
    ):
        cycle += 1
    s[TAKEN + (cycle & (CALENDAR - 1))] = cycle
    s[TAKEN + ((cycle + last) & (CALENDAR - 1))] = cycle + last
    return cycle


@njit(cache=True, error_model="numpy")
def _refresh(s, p):
    """Close every row."""
    s[ROW : ROW + MOST_BANKS] = -1
    s[SHUT] = s[REFRESH] + 1 + p[w.RFC]
    s[REFRESH] += p[w.REFI]
    s[GAPS] = 0


@njit(cache=True, error_model="numpy")
def _place(s, spacing, ready, work):
    """Put MACs where the bus is free from a cycle on; return the last one's cycle."""
    end = np.int64(0)
    i = 0
    while i < s[GAPS] and work:
        at = GAP + 2 * i
        if ready >= s[at + 1]:
            i += 1
            continue
        begin = max(s[at], ready)
        here = min(work, (s[at + 1] - begin + spacing - 1) // spacing)
        work -= here
        end = begin + (here - 1) * spacing
        for k in range(here):
            s[READING + ((begin + k * spacing) & (CALENDAR - 1))] = begin + k * spacing
        left = s[at + 1] - end - spacing
        before = begin > s[at]
        if left <= 0:  # the MACs behind the gap move on
            s[FREE] -= left
        if before and left > 0 and s[GAPS] < MOST_GAPS:
            for j in range(GAP + 2 * s[GAPS] + 1, at + 1, -1):
                s[j] = s[j - 2]
            s[at + 1] = begin
            s[at + 2] = end + spacing
            s[GAPS] += 1
        elif left > 0:
            s[at] = end + spacing
        elif before:
            s[at + 1] = begin
        else:
            s[GAPS] -= 1
            for j in range(at, GAP + 2 * s[GAPS]):
                s[j] = s[j + 2]
            continue
        i += 1
    if work:
        begin = max(ready, s[FREE])
        if begin > s[FREE] and s[GAPS] < MOST_GAPS:
            at = GAP + 2 * s[GAPS]
            s[at], s[at + 1] = s[FREE], begin
            s[GAPS] += 1
        end = begin + (work - 1) * spacing
        for k in range(work):
            s[READING + ((begin + k * spacing) & (CALENDAR - 1))] = begin + k * spacing
        s[FREE] = end + spacing
    return end


@njit(cache=True, forceinline=True, error_model="numpy")
def _slot(s, ready):
    """Return the first cycle at which the MAC bus is free from a cycle on."""
    for i in range(s[GAPS]):
        if ready < s[GAP + 2 * i + 1]:
            return max(s[GAP + 2 * i], ready)
    return max(s[FREE], ready)


@njit(cache=True, forceinline=True, error_model="numpy")
def _apart(s, p, bank, ready):
    """Return the cycle from which one MAC may go by the last one of its bank group."""
    last = s[PLACE + bank % p[w.PLACES]]
    slot = _slot(s, ready)
    if last - p[w.SAME] < slot < last + p[w.SAME]:
        return last + p[w.SAME]
    return ready


@njit(cache=True, error_model="numpy")
def _run(s, p, bank, wanted, work, width, start):
    """Place a run of `work` MACs on a set of `width` banks; return the last one's cycle."""
    spacing = p[w.SPACING]
    seen = _seen(s)
    past = 0
    while past < s[GAPS] and s[GAP + 2 * past + 1] <= seen:
        past += 1
    if past:
        s[GAPS] -= past
        for i in range(GAP, GAP + 2 * s[GAPS]):
            s[i] = s[i + 2 * past]
    end = np.int64(0)
    before, row = s[ACTIVATED + bank], s[ROW + bank]
    ready = max(start, seen, before + p[w.RCD])
    if row == wanted and ready < s[REFRESH]:
        if work == 1 and p[w.PLACES]:  # the same bank group again
            ready = _apart(s, p, bank, ready)
        end = _place(s, spacing, ready, work)
    else:
        at = 0
        while at < width:
            cycle = max(seen, s[SHUT])
            if row >= 0 and s[ROW + bank] >= 0:
                # a MAC keeps the first bank group of its rank's number open, too
                later = width - 1 - at
                if width > 1 and at < width // p[w.GROUPS]:
                    later = width - (at + 1) * p[w.GROUPS]
                activated = before + at * ROW_CYCLES
                last = s[LAST + bank] - later * spacing
                close = max(seen, activated + p[w.RAS], last + p[w.RTPL])
                if width == 1 and s[HOLD + bank] <= close:
                    close = max(close, s[HOLD + bank] + p[w.RTPL])
                # nothing pairs with a precharge
                while (
                    s[TAKEN + (close & (CALENDAR - 1))] == close
                    or s[READING + (close & (CALENDAR - 1))] == close
                ):
                    close += 1
                s[TAKEN + (close & (CALENDAR - 1))] = close
                cycle = max(cycle, close + p[w.RP], activated + p[w.RC])
            cycle = _take(s, cycle, ROW_CYCLES)
            if at == 0:
                s[ACTIVATED + bank] = cycle
            ready = max(start, cycle + p[w.RCD])
            if ready >= s[REFRESH]:
                _refresh(s, p)
                s[FREE] = max(s[FREE], s[SHUT])
                at = 0
                continue
            if work == 1 and p[w.PLACES]:
                ready = _apart(s, p, bank, ready)
            end = max(end, _place(s, spacing, ready, work // width))
            at += 1
        s[ROW + bank] = wanted
        s[OPENED] += width
    if end >= s[REFRESH]:  # it falls in between: the row opens once more
        left = min(work, (end - s[REFRESH]) // spacing + 1)
        _refresh(s, p)
        s[ROW + bank] = wanted
        s[ACTIVATED + bank] = s[SHUT]
        s[OPENED] += width
        end = s[SHUT] + p[w.RCD] + (left - 1) * spacing
        s[FREE] = end + spacing
    s[LAST + bank] = max(s[LAST + bank], end)
    if width == 1 and p[w.PLACES]:
        s[PLACE + bank % p[w.PLACES]] = end
    s[LAST_BANK] = bank
    _enter(s, end, work, spacing)
    return end


@njit(cache=True, error_model="numpy")
def _read_rows(s, p, chosen, begin, stop, keys, first_row, start):
    """Read blocks that lie side by side in a row, rows in bank after bank; return the last MAC."""
    per_row = p[w.KEY_ROW] if keys else p[w.VALUE_ROW]
    each = p[w.QUERIES] * (p[w.KEY_COLUMNS] if keys else 1)
    end = start
    i = begin
    while i < stop:
        row = chosen[i] // per_row
        limit = (row + 1) * per_row
        first = i
        while i < stop and chosen[i] < limit:
            i += 1
        row += first_row
        bank = row % p[w.KEY_BANKS]
        end = max(end, _run(s, p, bank, row // p[w.KEY_BANKS], (i - first) * each, 1, start))
    return end


@njit(cache=True, error_model="numpy")
def _read_columns(s, p, chosen, begin, stop, keys, first_row, start):
    """Read blocks whose columns go round the banks; return the last MAC's cycle.

    Query heads pass over the blocks of a row one after the other while it is open in all banks.
    """
    columns = p[w.KEY_COLUMNS] if keys else 1
    banks = p[w.KEY_BANKS] if keys else p[w.VALUE_BANKS]
    width = p[w.VALUE_BANKS] // banks
    runs = columns // width
    stretch = banks * p[w.COLUMNS]
    end = start
    first = begin
    while first < stop:
        row = chosen[first] * runs // stretch
        until = first + 1
        while until < stop and chosen[until] * runs // stretch == row:
            until += 1
        for _ in range(p[w.QUERIES]):
            for i in range(first, until):
                for column in range(chosen[i] * runs, (chosen[i] + 1) * runs):
                    bank, row = column % banks, first_row + column // stretch
                    end = max(end, _run(s, p, bank, row, width, width, start))
                    if width == 1:
                        place = bank % p[w.PLACES]
                        s[HOLD + bank - place + place // p[w.GROUPS]] = s[LAST + bank]
        first = until
    return end


@njit(cache=True, error_model="numpy")
def walk_banks(blocks, p, tail, found):
    """Walk points (points, words) whose MACs are for one bank of each lane."""
    points, n_words = blocks.shape
    queries, spacing, same = p[w.QUERIES], p[w.SPACING], p[w.SAME]
    interleaved = p[w.PLACES] > 0
    apart = same if interleaved else p[w.BUS]
    s = np.zeros(SIZE, dtype=np.int64)
    chosen = np.zeros(n_words * 8, dtype=np.int64)
    for point in range(points):
        n = 0
        for word in range(n_words):
            bits = blocks[point, word]
            if bits:
                for i in range(8):
                    chosen[n] = word * 8 + i
                    n += np.int64((bits >> np.uint64(8 * i)) & np.uint64(1))
        found[w.BLOCKS, point] = n
        found[w.BLOCKS + 1 :, point] = 0
        if n == 0:
            continue
        s[:LEAVE] = 0
        s[TAKEN:ROW] = 0
        s[ROW:HOLD] = -1
        s[HOLD:PLACE] = 0
        s[PLACE:] = -w.NEVER
        s[REFRESH] = p[w.REFI]
        start = 2 + (p[w.WRITES] - 1) * same
        _enter(s, start - 1, p[w.WRITES], same)
        _enter(s, start, 1, 0)

        # keys, a group of blocks after the other; beside it the moves of the group before
        done = np.int64(0)
        end = np.int64(0)
        passed = np.int64(0)
        for begin in range(0, n, w.GROUP):
            stop = min(begin + w.GROUP, n)
            s[FREE] = max(s[FREE], start)
            if interleaved:
                end = _read_columns(s, p, chosen, begin, stop, True, 0, start)
            else:
                end = _read_rows(s, p, chosen, begin, stop, True, 0, start)
            if begin:
                done = passed + 1 + (p[w.SCORE_MOVES] - 1) * apart
                if s[LAST_BANK] == 0 and not interleaved:  # moves to its bank wait
                    done = max(done, end + 1 + (queries - 1) * same)
            passed = max(end, done)
            start = passed + 1
            if stop < n:
                _enter(s, passed, 1, 0)
        found[w.KEY_END, point] = end
        found[w.KEY_ROWS, point] = s[OPENED]

        # scores out, probabilities in
        over = max(np.int64(0), done + apart - end - 1)
        each = -(-n // p[w.WORDS])
        start = end + over + tail[each, 0]
        seen = end + over + tail[each, 1]
        moves = min(np.int64(w.WINDOW), p[w.SCORE_MOVES] + queries + p[w.TARGETS] * each)
        _enter(s, start - 1, moves, min(apart, (start - seen) // moves))
        if interleaved:
            width = p[w.VALUE_BANKS] // p[w.KEY_BANKS]
            for bank in range(p[w.VALUE_BANKS] - 1, -1, -1):
                of, at = bank // width, bank % width
                s[ACTIVATED + bank] = s[ACTIVATED + of] + at * ROW_CYCLES
                s[LAST + bank] = s[LAST + of] - (width - 1 - at) * spacing
                s[ROW + bank] = s[ROW + of]

        # values, slice after slice; beside it the moves of the slice before
        done = np.int64(0)
        for part in range(p[w.SLICES]):
            first = p[w.VALUE_FIRST] + part * p[w.SLICE_ROWS]
            s[FREE] = max(s[FREE], start)
            if interleaved:
                end = _read_columns(s, p, chosen, 0, n, False, first, start)
            else:
                end = _read_rows(s, p, chosen, 0, n, False, first, start)
            if part == 0:
                found[w.VALUE_BEGIN, point] = start
            else:
                done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * apart
            passed = max(end, done)
            start = passed + 1
            if part + 1 < p[w.SLICES]:
                _enter(s, passed, 1, 0)
        found[w.VALUE_END, point] = end
        found[w.VALUE_ROWS, point] = s[OPENED] - found[w.KEY_ROWS, point]
        begin = max(end, done + apart - 1)
        found[w.END, point] = begin + 1 + (p[w.CONTEXT_MOVES] - 1) * apart
