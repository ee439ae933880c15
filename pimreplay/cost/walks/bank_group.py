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
from pimreplay.compiled import kernel
from pimreplay.cost.walks import all_bank as w
from pimreplay.cost.walks import queue as q
from pimreplay.cost.walks.bounds import MOST_BANKS

MOST_GAPS = 40
# of each set of banks: its activate, its last MAC, its open row; begin and end of each gap
ACTIVATED, LAST, OPEN, GAP = (MOST_BANKS * i for i in range(4))
STATE = GAP + 2 * MOST_GAPS + 2


@kernel(forceinline=True)
def _place(s, gaps, free, spacing, ready, work):
    """Put MACs where the bus is free from a cycle on.

    Returns the gaps, the cycle from which the bus is free for good, and the last MAC's cycle.
    """
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
    return gaps, free, end


@kernel()
def walk_banks(blocks, p, tails, found):
    """Walk points (points, words) whose MACs are for the same bank of each bank group."""
    points, n_words = blocks.shape
    queries, spacing, same = p[w.QUERIES], p[w.SPACING], p[w.SAME]
    pace = p[w.CONTEXT_PACE]
    ras, rtpl, rp, rc, rcd = p[w.RAS], p[w.RTPL], p[w.RP], p[w.RC], p[w.RCD]
    n_banks = p[w.KEY_BANKS]
    bank_shift = np.int64(lowest_bit(np.uint64(n_banks)))
    # banks by which a slice lies on from the one before, bit by bit the lowest: none ends in bank 0
    turn = p[w.SLICE_ROWS] & (n_banks - 1)
    turn &= -turn
    s = np.zeros(STATE, dtype=np.int64)
    queue = np.zeros(q.QUEUE, dtype=np.int64)
    chosen = np.zeros(n_words * 8, dtype=np.int64)
    for point in range(points):
        n = 0
        for word in range(n_words):
            mask = blocks[point, word]
            while mask:  # a byte a block
                chosen[n] = word * 8 + (np.int64(lowest_bit(mask)) >> 3)
                mask &= mask - np.uint64(1)
                n += 1
        for field in range(w.FIELDS):
            found[field, point] = 0
        found[w.BLOCKS, point] = n
        if n == 0:
            continue
        for bank in range(n_banks):
            s[ACTIVATED + bank] = s[LAST + bank] = 0
            s[OPEN + bank] = -1
        head = tail = np.int64(0)
        free = opened = open_rows = gaps = np.int64(0)
        start = 2 + (p[w.WRITES] - 1) * same
        tail = q.enter(queue, head, tail, start - 1, p[w.WRITES], same)
        tail = q.enter(queue, head, tail, start, 1, 0)
        held = p[w.WRITES] + 1

        done = end = passed = state = np.int64(0)
        opened_before = open_before = np.int64(0)
        bank = np.int64(0)
        begin = 0  # the next block of a part; part 0 is the keys, then come slices of values
        part = 0
        while part <= p[w.SLICES]:
            keys = part == 0
            stop = min(begin + w.GROUP, n) if keys else n
            per_row = p[w.KEY_ROW] if keys else p[w.VALUE_ROW]
            each = queries * (p[w.KEY_COLUMNS] if keys else 1)
            first_row = 0 if keys else p[w.VALUE_FIRST] + (part - 1) * p[w.SLICE_ROWS]
            free = max(free, start)
            end = start
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
                wanted = row >> bank_shift

                head, held, seen = q.see(queue, head, held)
                past = 0
                while past < gaps and s[GAP + 2 * past + 1] <= seen:
                    past += 1
                if past:
                    gaps -= past
                    for j in range(GAP, GAP + 2 * gaps):
                        s[j] = s[j + 2 * past]
                activated = s[ACTIVATED + bank]
                ready = max(start, seen, activated + rcd)
                if s[OPEN + bank] != wanted:
                    cycle = seen
                    if s[OPEN + bank] >= 0:
                        close = max(seen, activated + ras, s[LAST + bank] + rtpl)
                        cycle = max(close + rp, activated + rc)
                    s[ACTIVATED + bank] = cycle
                    s[OPEN + bank] = wanted
                    opened += 1
                    ready = max(start, cycle + rcd)
                # rows of other banks open while fewer than a window of this one's are left
                open_rows += min(work + w.WINDOW, n_banks * work)
                gaps, free, last = _place(s, gaps, free, spacing, ready, work)
                s[LAST + bank] = max(s[LAST + bank], last)
                tail = q.enter(queue, head, tail, last, work, spacing)
                held += work
                end = max(end, last)

            # beside the MACs go the moves of the group or slice before
            if keys:
                if begin:
                    done = passed + 1 + (p[w.SCORE_MOVES] - 1) * p[w.SCORE_PACE]
                    if bank == 0:  # moves to its bank wait
                        done = max(done, end + 1 + (queries - 1) * same)
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
                    if bank == 0 and s[ACTIVATED] <= passed:
                        done = max(done, end + 1 + (queries - 1) * same)
                lasted = max(end, done) - passed
                passed = max(end, done)
                start = passed + 1
                if part < p[w.SLICES]:
                    tail = q.enter(queue, head, tail, passed, 1, 0)
                    held += 1
                # a slice that leaves the banks as the one before did: so will the others
                left_so = q.mix(np.int64(0), lasted if n * queries < w.WINDOW else 0)
                left_so = q.mix(left_so, free - passed)
                for k in range(n_banks):
                    other = (first_row + k) & (n_banks - 1)
                    if (s[OPEN + other] << bank_shift) + other >= first_row - p[w.SLICE_ROWS]:
                        left_so = q.mix(left_so, s[ACTIVATED + other] - passed)
                        left_so = q.mix(left_so, s[LAST + other] - passed)
                for gap in range(2 * gaps):
                    left_so = q.mix(left_so, s[GAP + gap] - passed)
                rest = p[w.SLICES] - part
                if left_so == state and (turn == 0 or bank & (turn - 1)):
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
