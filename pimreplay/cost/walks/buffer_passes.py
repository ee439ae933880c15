"""Passes of further query heads over a row of all banks, for the walk at buffer level, compiled.

Every row is open, so a pass is placed at once: between the MACs of the first one, then behind.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.compiled import kernel
from pimreplay.cost.walks.buffer_state import (
    CLEAR,
    COUNTS,
    DENSE,
    FILLED,
    LAST,
    UNTIL,
    hold,
    slot_from,
)
from pimreplay.cost.walks.buses import MACS, ONE, clear_ahead, mark
from pimreplay.cost.walks.queue import ROOM, enter, see
from pimreplay.cost.walks.steps import FREE

MARKED = 40
"""MACs of a long run that are marked, at least: no request is seen before the last of them."""


@kernel(forceinline=True, _nrt=False)
def read_again(s, queue, bits, masks, chosen, first, until, columns, width, earliest, latest, t):
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
            hold(s, bank, cycle, t)
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
        cycle = slot_from(bits, cycle, s[FREE], spacing)
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
