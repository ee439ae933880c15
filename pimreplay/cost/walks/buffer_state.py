"""What the walk at buffer level knows of buses and banks, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

from typing import NamedTuple

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w
from pimreplay.cost.walks.bounds import MOST_BANKS
from pimreplay.cost.walks.buses import MACS, ONE, read
from pimreplay.cost.walks.queue import ROOM
from pimreplay.cost.walks.steps import REGISTERS

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
def hold(s, bank, cycle, t):
    """Note that a MAC keeps the first bank group of its rank's number open, too."""
    place = bank & (t.places - 1)
    group_shift = t.group_shift
    kept = bank - place + (place >> group_shift)
    s[HOLD + kept] = max(s[HOLD + kept], cycle)


@kernel(forceinline=True, _nrt=False)
def slot_from(bits, cycle, free, spacing):
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
