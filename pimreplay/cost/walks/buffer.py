"""One KV head's step where a MAC is for one bank of each pseudo-channel, compiled; no refresh.

Consecutive columns go round the banks, so that a row of all of them is read at once and dozens of
banks close and open over one row bus. Bit sets of cycles say when that bus and the MAC bus are
taken. A pass of a further query head finds every row open, and a slice of values that takes as long
as the one before will do so again: both are placed at once.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel
from pimreplay.cost.walks import all_bank as w
from pimreplay.cost.walks import queue as q
from pimreplay.cost.walks.bounds import MOST_BANKS
from pimreplay.cost.walks.buses import (
    MACS,
    ONE,
    ROW_BUS,
    WORDS,
    activate,
    clear_ahead,
    in_use,
    mark,
    precharge,
    read,
)

MARKED = 40
"""MACs of a long run that are marked, at least: no request is seen before the last of them."""

# of a bank: its activate, its last MAC, its open row, the last MAC elsewhere that keeps it open
ACTIVATED, LAST, OPEN, HOLD = (MOST_BANKS * i for i in range(4))
# of each bank group: first and last of its MACs that leave no room between, and MACs of a pass
SINCE, UNTIL, COUNTS = (MOST_BANKS * i for i in range(4, 7))
USED = COUNTS + MOST_BANKS  # of each bank: the last row of all banks that it was read for
FILLED = USED + MOST_BANKS  # cycles of a run's MACs that went between others
STATE = FILLED + q.ROOM


@kernel(forceinline=True)
def _slot(bits, cycle, free, spacing):
    """Return the first cycle that has room for a MAC; all have from `free` on."""
    reach = spacing - 1
    while cycle < free:
        near = read(bits, MACS, cycle - reach)
        taken = near
        for after in range(1, 2 * reach + 1):
            taken |= near >> np.uint64(after)
        room = ~(taken | ~np.uint64(0) << np.uint64(64 - 2 * reach))
        if room:
            return cycle + np.int64(lowest_bit(room))
        cycle += 64 - 2 * reach
    return cycle


@kernel()
def walk_buffer(blocks, p, tails, found):
    """Walk points (points, words) whose MACs are for one bank of each pseudo-channel."""
    points, n_words = blocks.shape
    queries, same, rp, rcd = p[w.QUERIES], p[w.SAME], p[w.RP], p[w.RCD]
    spacing, pace = p[w.SPACING], p[w.CONTEXT_PACE]
    n_banks, n_places, groups = p[w.VALUE_BANKS], p[w.PLACES], p[w.GROUPS]
    row_shift = np.int64(lowest_bit(np.uint64(n_banks * p[w.COLUMNS])))
    group_shift = np.int64(lowest_bit(np.uint64(groups)))
    # cycles of a row of MACs to banks one after the other, and those that must be free for it
    chain = around = np.uint64(0)
    dense, dense_macs = np.uint64(0), 63 // spacing + 1
    for cycle in range(0, 64, spacing):
        dense |= ONE << np.uint64(cycle)
    length = spacing * (n_banks // p[w.KEY_BANKS])
    paired = np.uint64(0)
    if length + spacing <= 64:
        paired = ~np.uint64(0) >> np.uint64(64 - length)
        for cycle in range(0, length, spacing):
            chain |= ONE << np.uint64(cycle)
        around = ~np.uint64(0) >> np.uint64(65 - length - spacing)
    s = np.zeros(STATE, dtype=np.int64)
    queue = np.zeros(q.QUEUE, dtype=np.int64)
    bits = np.zeros(2 * WORDS, dtype=np.uint64)
    chosen = np.zeros(n_words * 8, dtype=np.int64)
    visit = np.int64(0)
    for point in range(points):
        n = 0
        for word in range(n_words):
            mask = blocks[point, word]
            if mask:
                for i in range(8):
                    chosen[n] = word * 8 + i
                    n += np.int64((mask >> np.uint64(8 * i)) & ONE)
        for field in range(w.FIELDS):
            found[field, point] = 0
        found[w.BLOCKS, point] = n
        if n == 0:
            continue
        for i in range(2 * WORDS):
            bits[i] = 0
        clear = np.int64(WORDS)
        for bank in range(n_banks):
            s[ACTIVATED + bank] = -p[w.RC]
            s[LAST + bank] = s[HOLD + bank] = 0
            s[OPEN + bank] = -1
        for place in range(n_places):
            s[SINCE + place] = s[UNTIL + place] = -w.NEVER
        head = tail = np.int64(0)
        free = opened = open_rows = np.int64(0)
        start = 2 + (p[w.WRITES] - 1) * same
        tail = q.enter(queue, head, tail, start - 1, p[w.WRITES], same)
        tail = q.enter(queue, head, tail, start, 1, 0)
        held = p[w.WRITES] + 1

        done = end = passed = state = np.int64(0)
        opened_before = open_before = np.int64(0)
        begin = 0  # the next block of a part; part 0 is the keys, then come slices of values
        part = 0
        while part <= p[w.SLICES]:
            keys = part == 0
            stop = min(begin + w.GROUP, n) if keys else n
            columns = p[w.KEY_COLUMNS] if keys else 1
            width = n_banks // p[w.KEY_BANKS] if keys else 1
            first_row = 0 if keys else p[w.VALUE_FIRST] + part * p[w.SLICE_ROWS]
            runs = columns // width
            free = max(free, start)
            end = start
            first = begin
            while first < stop:
                row = chosen[first] * columns >> row_shift
                until = first + 1
                while until < stop and chosen[until] * columns >> row_shift == row:
                    until += 1
                work = (until - first) * columns
                used = np.int64(0)
                visit += 1
                earliest, latest = np.int64(w.NEVER), np.int64(0)
                i, run = first, 0
                while i < until:
                    column = chosen[i] * columns + run * width
                    run += 1
                    if run == runs:
                        i, run = i + 1, 0
                    wanted = first_row + (column >> row_shift)
                    bank = column & (n_banks - 1)
                    if s[USED + bank] != visit:
                        s[USED + bank] = visit
                        used += width
                    head, held, seen = q.see(queue, head, held)
                    clear = clear_ahead(bits, clear, seen)
                    at = 0
                    last = np.int64(0)
                    b = bank + width - 1
                    if chain and width > 1 and s[OPEN + bank] == s[OPEN + b]:
                        # banks one after the other, at the pace of the MACs
                        opens = s[OPEN + bank] != wanted
                        closes = opens and s[OPEN + bank] >= 0
                        fits = True
                        close = cycle = seen
                        if closes:
                            for k in range(width):
                                kept = s[ACTIVATED + bank + k] + p[w.RAS]
                                kept = max(kept, s[LAST + bank + k] + p[w.RTPL])
                                if s[HOLD + bank + k] <= kept:
                                    kept = max(kept, s[HOLD + bank + k] + p[w.RTPL])
                                close = max(close, kept - k * spacing)
                            taken = in_use(bits, close)
                            if taken & chain:
                                close += 1
                                taken = in_use(bits, close)
                            fits = taken & chain == 0
                            cycle = max(close + rp, s[ACTIVATED + bank] + p[w.RC])
                        activated = s[ACTIVATED + bank]
                        if opens:
                            fits = fits and read(bits, ROW_BUS, cycle) & paired == 0
                            activated = cycle
                        ready = max(start, seen, activated + rcd)
                        if not opens:
                            ready = max(ready, s[ACTIVATED + b] + rcd - (width - 1) * spacing)
                        slot = _slot(bits, ready, free, spacing)
                        last = slot + (width - 1) * spacing
                        if fits and slot < free:
                            near = read(bits, MACS, slot - spacing + 1)
                            fits = near & around == 0
                        if fits and opens:
                            if closes:
                                mark(bits, ROW_BUS, close, chain)
                            mark(bits, ROW_BUS, cycle, paired)
                            for k in range(width):
                                s[ACTIVATED + bank + k] = cycle + k * spacing
                                s[OPEN + bank + k] = wanted
                            opened += width
                        if fits:
                            mark(bits, MACS, slot, chain)
                            free = max(free, last + spacing)
                            for k in range(width):
                                s[LAST + bank + k] = slot + k * spacing
                            for b in range(bank, bank + width, min(groups, n_places)):
                                place = b & (n_places - 1)
                                kept = b - place + (place >> group_shift)
                                s[HOLD + kept] = max(s[HOLD + kept], last)
                            at = width
                        else:
                            last = np.int64(0)
                    while at < width:
                        b = bank + at
                        activated = s[ACTIVATED + b]
                        ready = max(start, seen, activated + rcd)
                        opens = s[OPEN + b] != wanted
                        if opens:
                            cycle = seen
                            if s[OPEN + b] >= 0:
                                close = max(seen, activated + p[w.RAS], s[LAST + b] + p[w.RTPL])
                                if s[HOLD + b] <= close:
                                    close = max(close, s[HOLD + b] + p[w.RTPL])
                                close = precharge(bits, close)
                                cycle = max(close + rp, activated + p[w.RC])
                            cycle = activate(bits, cycle)
                            ready = max(start, cycle + rcd)
                            s[ACTIVATED + b] = cycle
                            s[OPEN + b] = wanted
                            opened += 1
                        slot = _slot(bits, ready, free, spacing)
                        place = b & (n_places - 1)
                        if width == 1:  # MACs of a bank group are further apart
                            near = s[UNTIL + place] + same
                            if s[SINCE + place] - same < slot < near:
                                slot = _slot(bits, near, free, spacing)
                        mark(bits, MACS, slot, ONE)
                        free = max(free, slot + spacing)
                        if width == 1 and slot > s[UNTIL + place]:
                            if slot >= s[UNTIL + place] + 2 * same:
                                s[SINCE + place] = slot
                            s[UNTIL + place] = slot
                        s[LAST + b] = max(s[LAST + b], slot)
                        # it keeps the first bank group of its rank's number open, too
                        kept = b - place + (place >> group_shift)
                        s[HOLD + kept] = max(s[HOLD + kept], slot)
                        last = max(last, slot)
                        at += 1
                    tail = q.enter(queue, head, tail, last, width, spacing)
                    held += width
                    end = max(end, last)
                    latest = max(latest, last)
                    earliest = min(earliest, last - (width - 1) * spacing)
                if queries > 1:
                    left = (queries - 1) * work
                    head, held, seen = q.see(queue, head, held)
                    cycle = max(earliest, seen)
                    last = np.int64(0)
                    while left and cycle < free:
                        cycle = _slot(bits, cycle, free, spacing)
                        if cycle < free:
                            mark(bits, MACS, cycle, ONE)
                            s[FILLED + (left & (q.ROOM - 1))] = cycle
                            last = cycle
                            cycle += spacing
                            left -= 1
                    contiguous = left
                    if left:
                        last = cycle + (left - 1) * spacing
                        clear = clear_ahead(bits, clear, last)
                        marked = np.int64(0)
                        while marked < min(left, MARKED):
                            here = min(left - marked, dense_macs)
                            marked += here
                            mask = dense >> np.uint64((dense_macs - here) * spacing)
                            mark(bits, MACS, last - (marked - 1) * spacing, mask)
                    span = work * spacing
                    slow = False
                    if width == 1:
                        for place in range(n_places):
                            s[COUNTS + place] = 0
                        busiest = 0
                        for i in range(first, until):
                            for k in range(columns):
                                place = (chosen[i] * columns + k) & (n_places - 1)
                                s[COUNTS + place] += 1
                        for place in range(n_places):
                            if s[COUNTS + place] > s[COUNTS + busiest]:
                                busiest = place
                        most = s[COUNTS + busiest] * same
                        slow = most > span
                        if slow:
                            span = most
                            last = max(last, earliest + queries * span - same)
                            s[UNTIL + busiest] = last
                    # MACs of a bank are as far apart as those of its group
                    last = max(last, latest + (queries - 1) * same)
                    free = max(free, last + spacing)
                    after = work
                    for i in range(first, until):
                        for k in range(columns):
                            after -= 1
                            b = (chosen[i] * columns + k) & (n_banks - 1)
                            cycle = last - (after * span // work if slow else after * spacing)
                            if not slow and contiguous <= after < contiguous + q.ROOM:
                                cycle = min(cycle, s[FILLED + ((after + 1) & (q.ROOM - 1))])
                            place = b & (n_places - 1)
                            kept = b - place + (place >> group_shift)
                            s[LAST + b] = max(s[LAST + b], cycle)
                            s[HOLD + kept] = max(s[HOLD + kept], cycle)
                    tail = q.enter(queue, head, tail, last, (queries - 1) * work, spacing)
                    held += (queries - 1) * work
                    end = max(end, last)
                open_rows += used * work * queries
                first = until

            # beside the MACs go the moves of the group or slice before
            if keys:
                if begin:
                    done = passed + 1 + (p[w.SCORE_MOVES] - 1) * p[w.SCORE_PACE]
                passed = max(end, done)
                start = passed + 1
                begin = stop
                if stop < n:
                    tail = q.enter(queue, head, tail, passed, 1, 0)
                    held += 1
                    continue
                found[w.KEY_END, point] = end
                found[w.KEY_ROWS, point] = opened
                found[w.KEY_OPEN, point] = open_rows

                tail, moves, start = q.hand_over(queue, head, tail, p, tails, n, end, done)
                held += moves
                found[w.VALUE_BEGIN, point] = start
                done = np.int64(0)
                passed = start - 1
            else:
                if part > 1:
                    done = passed + 1 + (p[w.CONTEXT_MOVES] - 1) * pace
                lasted = max(end, done) - passed
                passed = max(end, done)
                start = passed + 1
                if part < p[w.SLICES]:
                    tail = q.enter(queue, head, tail, passed, 1, 0)
                    held += 1
                # a slice that leaves the banks as the one before did: so will the others
                left_so = q.mix(np.int64(0), lasted if n * queries < w.WINDOW else 0)
                left_so = q.mix(left_so, free - passed)
                for b in range(n_banks):
                    if s[OPEN + b] >= first_row:
                        left_so = q.mix(left_so, s[ACTIVATED + b] - passed)
                        left_so = q.mix(left_so, s[LAST + b] - passed)
                        held_until = max(s[HOLD + b], s[LAST + b])  # an older one binds nothing
                        left_so = q.mix(left_so, held_until - passed)
                rest = p[w.SLICES] - part
                if left_so == state:
                    end += rest * lasted
                    done += rest * lasted
                    opened += rest * (opened - opened_before)
                    open_rows += rest * (open_rows - open_before)
                    break
                state = left_so
                opened_before, open_before = opened, open_rows
            begin = 0
            part += 1
        found[w.VALUE_END, point] = end
        found[w.VALUE_ROWS, point] = opened - found[w.KEY_ROWS, point]
        found[w.VALUE_OPEN, point] = open_rows - found[w.KEY_OPEN, point]
        found[w.END, point] = max(end, done + pace - 1) + 1 + (p[w.CONTEXT_MOVES] - 1) * pace
