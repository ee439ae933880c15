"""Blocks of one row of all banks, for the walk at buffer level, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w
from pimreplay.cost.walks.buffer_passes import read_again
from pimreplay.cost.walks.buffer_state import (
    ACTIVATED,
    AROUND,
    CHAIN,
    CLEAR,
    HOLD,
    LAST,
    OPEN,
    PAIRED,
    SINCE,
    UNTIL,
    USED,
    VISIT,
    hold,
    slot_from,
)
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
from pimreplay.cost.walks.queue import enter, see
from pimreplay.cost.walks.steps import FREE, OPEN_ROWS, OPENED


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
        end = read_again(
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
    slot = slot_from(bits, ready, s[FREE], spacing)
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
        hold(s, other, last, t)
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
        slot = slot_from(bits, ready, s[FREE], spacing)
        place = b & (t.places - 1)
        if width == 1:  # MACs of a bank group are further apart
            near = s[UNTIL + place] + same
            if s[SINCE + place] - same < slot < near:
                slot = slot_from(bits, near, s[FREE], spacing)
        mark(bits, MACS, slot, ONE)
        s[FREE] = max(s[FREE], slot + spacing)
        if width == 1 and slot > s[UNTIL + place]:
            if slot >= s[UNTIL + place] + 2 * same:
                s[SINCE + place] = slot
            s[UNTIL + place] = slot
        s[LAST + b] = max(s[LAST + b], slot)
        hold(s, b, slot, t)
        last = max(last, slot)
    return last
