"""Reads, writes and half-served requests: lists in order of age."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import MACAB, MACPB, RD, WR
from pimreplay.bank_model.kernel.compiling import called, inlined, u64
from pimreplay.bank_model.kernel.constants import LISTS
from pimreplay.bank_model.kernel.open_rows import next_command
from pimreplay.bank_model.kernel.state import (
    ACTIVE,
    CHANGED,
    FIELDS,
    L_ARRIVE,
    L_BANK,
    L_FINAL,
    L_NEXT,
    L_ROW,
    L_SEEN,
    LAST_REMOVAL,
    LIST,
    LISTED,
    READS,
    VERSION,
    WRITES,
)
from pimreplay.bank_model.kernel.timing import ready_cycle
from pimreplay.bank_model.limits import QUEUE_ENTRIES


@inlined
def listed(s):
    """Tell whether any list holds a request."""
    return s[LISTED + READS] | s[LISTED + WRITES] | s[LISTED + ACTIVE] != 0


@inlined
def slot_at(s, constants, queue, index):
    """Return where the fields of a list's request lie."""
    order = constants[LISTS] + queue * LIST
    return order + QUEUE_ENTRIES + s[u64(order + index)] * FIELDS


@inlined
def append(s, constants, queue):
    """Return the fields of a free slot, now the last of the list."""
    n = s[LISTED + queue]  # the order is a permutation of all slots, the free ones at its end
    s[LISTED + queue] = n + 1
    return slot_at(s, constants, queue, n)


@inlined
def remove(s, constants, queue, index, clock):
    """Take a request out of a list."""
    order = constants[LISTS] + queue * LIST
    slot = s[order + index]
    n = s[LISTED + queue] - 1
    for i in range(order + index, order + n):
        s[i] = s[i + 1]
    s[order + n] = slot
    s[LISTED + queue] = n
    s[LAST_REMOVAL] = clock
    s[CHANGED] = 1


@inlined
def _listed_command(s, constants, slot):
    version = s[VERSION] + 1  # 0 in a slot says: never looked
    if s[slot + L_SEEN] != version:
        s[slot + L_NEXT] = next_command(
            s, constants, s[slot + L_FINAL], s[slot + L_BANK], s[slot + L_ROW]
        )
        s[slot + L_SEEN] = version
    return s[slot + L_NEXT]


@inlined
def _is_access(command):
    return command == RD or command == WR or MACAB <= command <= MACPB


@inlined
def _listed_wanted(s, constants, queue, bank):
    for i in range(s[LISTED + queue]):
        slot = slot_at(s, constants, queue, i)
        if s[slot + L_BANK] == bank and _is_access(_listed_command(s, constants, slot)):
            return True
    return False


@called
def best(s, constants, queue, clock):
    """Return the index of a list's best request, -1 for none, and whether it is ready."""
    if s[LISTED + queue] == 0:
        return np.int64(-1), False
    best = np.int64(0)
    slot = slot_at(s, constants, queue, best)
    command = _listed_command(s, constants, slot)
    ready = clock >= ready_cycle(s, constants, command, s[slot + L_BANK])
    for i in range(1, s[LISTED + queue]):
        slot = slot_at(s, constants, queue, i)
        command = _listed_command(s, constants, slot)
        older = s[slot + L_ARRIVE] < s[slot_at(s, constants, queue, best) + L_ARRIVE]
        if clock < ready_cycle(s, constants, command, s[slot + L_BANK]):
            if not ready and older:
                best = i
        elif ready:
            if older:
                best = i
        elif _is_access(command) or not _listed_wanted(s, constants, queue, s[slot + L_BANK]):
            best = i
            ready = True
    return best, ready


@called
def list_event(s, constants, queue, clock, issued, event):
    """Return the earlier of `event` and the next cycle at which a request here turns ready."""
    for i in range(s[LISTED + queue]):
        slot = slot_at(s, constants, queue, i)
        command = _listed_command(s, constants, slot)
        cycle = ready_cycle(s, constants, command, s[slot + L_BANK])
        if cycle > clock:
            event = min(event, cycle)
        elif issued:
            return clock + 1
    return event
