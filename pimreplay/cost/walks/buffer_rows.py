"""Blocks of one row of all banks, for the walk at buffer level, compiled.

A pass of a further query head finds every row open and is placed at once.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

from typing import NamedTuple

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w
from pimreplay.cost.walks.bounds import MOST_BANKS
from pimreplay.cost.walks.buses import (
    MACS,
    ONE,
    ROW_BUS,
    activate,
    clear_ahead,
    in_use,
    mark,
    precharge,
    read,
)
from pimreplay.cost.walks.queue import ROOM, enter, see
from pimreplay.cost.walks.steps import FREE, OPEN_ROWS, OPENED, REGISTERS

MARKED = 40
"""MACs of a long run that are marked, at least: no request is seen before the last of them."""

CLEAR, VISIT = REGISTERS, REGISTERS + 1
"""First word of the bit sets that is not emptied yet, and rows of all banks read so far."""
# of a bank: its activate, its last MAC, its open row, the last MAC elsewhere that keeps it open
ACTIVATED, LAST, OPEN, HOLD = (REGISTERS + 2 + MOST_BANKS * i for i in range(4))
# of each bank group: first and last of its MACs that leave no room between, and MACs of a pass
SINCE, UNTIL, COUNTS = (HOLD + MOST_BANKS * i for i in range(1, 4))
USED = COUNTS + MOST_BANKS  # of each bank: the last row of all banks that it was read for
FILLED = USED + MOST_BANKS  # cycles of a run's MACs that went between others
STATE = FILLED + ROOM

CHAIN, AROUND, PAIRED, DENSE = range(4)
"""Cycles of MACs to the banks of a key one after the other, those that must be free for them, those
of their activates, and those of 64 cycles full of MACs."""
MASKS = 4


class Times(NamedTuple):
    """Parameters that are read again and again: from the array they would be loaded each time."""

    spacing: int
    same: int
    rtpl: int
    rp: int
    rcd: int
    ras: int
    rc: int
    queries: int
    banks: int
    places: int
    group_shift: int
    row_shift: int
    """Bits of a bank group's number, and of a column's in a row of all banks."""


@kernel(forceinline=True, _nrt=False)
def times_of(p):
    """Return the parameters of that name."""
    return Times(
        p[w.SPACING],
        p[w.SAME],
        p[w.RTPL],
        p[w.RP],
        p[w.RCD],
        p[w.RAS],
        p[w.RC],
        p[w.QUERIES],
        p[w.VALUE_BANKS],
        p[w.PLACES],
        np.int64(lowest_bit(np.uint64(p[w.BANK_GROUPS]))),
        np.int64(lowest_bit(np.uint64(p[w.VALUE_BANKS] * p[w.COLUMNS]))),
    )


@kernel(forceinline=True, _nrt=False)
def mac_masks(masks, p):
    """Fill the masks of cycles; those of a chain stay empty where it takes more than 64."""
    spacing, width = p[w.SPACING], p[w.VALUE_BANKS] // p[w.KEY_BANKS]
    for cycle in range(0, 64, spacing):
        masks[DENSE] |= ONE << np.uint64(cycle)
    length = spacing * width
    if length + spacing <= 64:
        masks[PAIRED] = ~np.uint64(0) >> np.uint64(64 - length)
        for cycle in range(0, length, spacing):
            masks[CHAIN] |= ONE << np.uint64(cycle)
        masks[AROUND] = ~np.uint64(0) >> np.uint64(65 - length - spacing)


@kernel(forceinline=True, _nrt=False)
def read_row(s, queue, bits, masks, chosen, first, until, columns, width, first_row, start, t):
    """Read blocks from `first` to `until`, for all query heads; return the last MAC's cycle.

    A block has so many `columns`; `width` banks are read one after the other.
    """
    n_banks, spacing = t.banks, t.spacing
    row_shift = t.row_shift
    used = np.int64(0)
    visit, clear = s[VISIT] + 1, s[CLEAR]
    s[VISIT] = visit
    earliest, latest = np.int64(w.NEVER), np.int64(0)
    for i in range(first, until):
        column = chosen[i] * columns
        end = column + columns
        while column < end:  # a range of a step not known would divide
            wanted, bank = first_row + (column >> row_shift), column & (n_banks - 1)
            if s[USED + bank] != visit:
                s[USED + bank] = visit
                used += width
            seen = see(queue)
            clear = clear_ahead(bits, clear, seen)
            last = np.int64(0)
            if width > 1 and masks[CHAIN]:
                last = _read_chain(s, bits, masks, bank, width, wanted, start, seen, t)
            if last == 0:
                last = _read_each(s, bits, bank, width, wanted, start, seen, t)
            enter(queue, last, width, spacing)
            latest = max(latest, last)
            earliest = min(earliest, last - (width - 1) * spacing)
            column += width
    s[CLEAR] = clear
    end = latest
    if t.queries > 1:
        end = _read_again(
            s, queue, bits, masks, chosen, first, until, columns, width, earliest, latest, t
        )
    s[OPEN_ROWS] += used * (until - first) * columns * t.queries
    return end


@kernel(forceinline=True, _nrt=False)
def _read_chain(s, bits, masks, bank, width, wanted, start, seen, t):
    """Read banks one after the other, at the pace of the MACs; return the last MAC's cycle.

    0: something is in the way, or the banks are not in the same state.
    """
    spacing, last_bank = t.spacing, bank + width - 1
    if s[OPEN + bank] != s[OPEN + last_bank]:
        return np.int64(0)
    opens = s[OPEN + bank] != wanted
    closes = opens and s[OPEN + bank] >= 0
    close = cycle = seen
    if closes:
        close = _chain_close(s, bits, masks, bank, width, seen, t)
        if in_use(bits, close) & masks[CHAIN]:
            return np.int64(0)
        cycle = max(close + t.rp, s[ACTIVATED + bank] + t.rc)
    if opens:
        if read(bits, ROW_BUS, cycle) & masks[PAIRED]:
            return np.int64(0)
        ready = max(start, seen, cycle + t.rcd)
    else:
        ready = max(start, seen, s[ACTIVATED + bank] + t.rcd)
        ready = max(ready, s[ACTIVATED + last_bank] + t.rcd - (width - 1) * spacing)
    slot = _slot(bits, ready, s[FREE], spacing)
    if slot < s[FREE] and read(bits, MACS, slot - spacing + 1) & masks[AROUND]:
        return np.int64(0)
    if opens:
        if closes:
            mark(bits, ROW_BUS, close, masks[CHAIN])
        mark(bits, ROW_BUS, cycle, masks[PAIRED])
        for k in range(width):
            s[ACTIVATED + bank + k] = cycle + k * spacing
            s[OPEN + bank + k] = wanted
        s[OPENED] += width
    last = slot + (width - 1) * spacing
    mark(bits, MACS, slot, masks[CHAIN])
    s[FREE] = max(s[FREE], last + spacing)
    for k in range(width):
        s[LAST + bank + k] = slot + k * spacing
    for other in range(bank, bank + width, min(1 << t.group_shift, t.places)):
        _hold(s, other, last, t)
    return last


@kernel(forceinline=True, _nrt=False)
def _chain_close(s, bits, masks, bank, width, seen, t):
    """Return the cycle from which banks can close one after the other, or one more."""
    close = seen
    for k in range(width):
        close = max(close, _closable(s, bank + k, np.int64(0), t) - k * t.spacing)
    if in_use(bits, close) & masks[CHAIN]:
        close += 1
    return close


@kernel(forceinline=True, _nrt=False)
def _closable(s, bank, seen, t):
    """Return the first cycle from `seen` on in which a bank's row can close."""
    close = max(seen, s[ACTIVATED + bank] + t.ras, s[LAST + bank] + t.rtpl)
    if s[HOLD + bank] <= close:
        close = max(close, s[HOLD + bank] + t.rtpl)
    return close


@kernel(forceinline=True, _nrt=False)
def _read_each(s, bits, bank, width, wanted, start, seen, t):
    """Read banks each as soon as it can be; return the last MAC's cycle."""
    spacing, same = t.spacing, t.same
    last = np.int64(0)
    for b in range(bank, bank + width):
        ready = max(start, seen, s[ACTIVATED + b] + t.rcd)
        if s[OPEN + b] != wanted:
            cycle = seen
            if s[OPEN + b] >= 0:
                close = precharge(bits, _closable(s, b, seen, t))
                cycle = max(close + t.rp, s[ACTIVATED + b] + t.rc)
            cycle = activate(bits, cycle)
            ready = max(start, cycle + t.rcd)
            s[ACTIVATED + b] = cycle
            s[OPEN + b] = wanted
            s[OPENED] += 1
        slot = _slot(bits, ready, s[FREE], spacing)
        place = b & (t.places - 1)
        if width == 1:  # MACs of a bank group are further apart
            near = s[UNTIL + place] + same
            if s[SINCE + place] - same < slot < near:
                slot = _slot(bits, near, s[FREE], spacing)
        mark(bits, MACS, slot, ONE)
        s[FREE] = max(s[FREE], slot + spacing)
        if width == 1 and slot > s[UNTIL + place]:
            if slot >= s[UNTIL + place] + 2 * same:
                s[SINCE + place] = slot
            s[UNTIL + place] = slot
        s[LAST + b] = max(s[LAST + b], slot)
        _hold(s, b, slot, t)
        last = max(last, slot)
    return last


@kernel(forceinline=True, _nrt=False)
def _hold(s, bank, cycle, t):
    """Note that a MAC keeps the first bank group of its rank's number open, too."""
    place = bank & (t.places - 1)
    group_shift = t.group_shift
    kept = bank - place + (place >> group_shift)
    s[HOLD + kept] = max(s[HOLD + kept], cycle)


@kernel(forceinline=True, _nrt=False)
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


@kernel(forceinline=True, _nrt=False)
def _read_again(s, queue, bits, masks, chosen, first, until, columns, width, earliest, latest, t):
    """Read for the other query heads, with every row open; return the last MAC's cycle.

    The first query head's MACs end between `earliest` and `latest`.
    """
    spacing, same, passes = t.spacing, t.same, t.queries - 1
    work = (until - first) * columns
    last, behind = _fill(s, bits, masks, max(earliest, see(queue)), passes * work, t)
    span, slow = work * spacing, False
    if width == 1:
        busiest, most = _busiest(s, chosen, first, until, columns, t)
        slow = most * same > span
        if slow:
            span = most * same
            last = max(last, earliest + t.queries * span - same)
            s[UNTIL + busiest] = last
    # MACs of a bank are as far apart as those of its group
    last = max(last, latest + passes * same)
    s[FREE] = max(s[FREE], last + spacing)
    after = work
    for i in range(first, until):
        for column in range(chosen[i] * columns, (chosen[i] + 1) * columns):
            after -= 1
            cycle = last - (after * span // work if slow else after * spacing)
            if not slow and behind <= after < behind + ROOM:
                cycle = min(cycle, s[FILLED + ((after + 1) & (ROOM - 1))])
            bank = column & (t.banks - 1)
            s[LAST + bank] = max(s[LAST + bank], cycle)
            _hold(s, bank, cycle, t)
    enter(queue, last, passes * work, spacing)
    return max(last, latest)


@kernel(forceinline=True, _nrt=False)
def _fill(s, bits, masks, cycle, left, t):
    """Put MACs where the bus is free from a cycle on, first between others and then behind.

    Returns the last one's cycle and how many are behind the others.
    """
    spacing = t.spacing
    last = np.int64(0)
    while left and cycle < s[FREE]:
        cycle = _slot(bits, cycle, s[FREE], spacing)
        if cycle < s[FREE]:
            mark(bits, MACS, cycle, ONE)
            s[FILLED + (left & (ROOM - 1))] = cycle
            last = cycle
            cycle += spacing
            left -= 1
    if left:
        last = cycle + (left - 1) * spacing
        s[CLEAR] = clear_ahead(bits, s[CLEAR], last)
        together = 63 // spacing + 1
        marked = np.int64(0)
        while marked < min(left, MARKED):
            here = min(left - marked, together)
            marked += here
            mask = masks[DENSE] >> np.uint64((together - here) * spacing)
            mark(bits, MACS, last - (marked - 1) * spacing, mask)
    return last, left


@kernel(forceinline=True, _nrt=False)
def _busiest(s, chosen, first, until, columns, t):
    """Return the bank group with the most MACs of a pass, and how many."""
    n_places = t.places
    for place in range(n_places):
        s[COUNTS + place] = 0
    for i in range(first, until):
        for column in range(chosen[i] * columns, (chosen[i] + 1) * columns):
            s[COUNTS + (column & (n_places - 1))] += 1
    busiest = 0
    for place in range(n_places):
        if s[COUNTS + place] > s[COUNTS + busiest]:
            busiest = place
    return busiest, s[COUNTS + busiest]
