"""One cycle of a controller: which commands issue, and when the next one can."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import ACT, BUS, PREA, PREPB, RD, REFAB
from pimreplay.bank_model.kernel.compiling import inlined, pasted, u64
from pimreplay.bank_model.kernel.constants import (
    HALF_BANKS,
    N_REFI,
    NODES,
    PSEUDO_CHANNELS,
    READ_LATENCY,
)
from pimreplay.bank_model.kernel.lists import append, best, list_event, listed, remove, slot_at
from pimreplay.bank_model.kernel.pim_queue import command_at, drop, scan
from pimreplay.bank_model.kernel.state import (
    ACTIVE,
    BANK_OF,
    CHANGED,
    FIELDS,
    IN_PIM,
    KIND,
    L_BANK,
    L_FINAL,
    L_NEXT,
    L_ROW,
    LAST_POP,
    LAST_TICK,
    LISTED,
    LIVE,
    NEVER,
    NEXT_REFRESH,
    OPEN_BANKS,
    READS,
    REFRESH_IN,
    REFRESH_OUT,
    ROW_OF,
    WRITE_MODE,
    WRITES,
)
from pimreplay.bank_model.kernel.timing import issue
from pimreplay.bank_model.limits import FEW_WRITES, MANY_WRITES, QUEUE_ENTRIES

PIM, PRIORITY, NO_QUEUE = -3, -2, -1
FREE_SLOT, NOTHING = -2, -1
"""First command that the second slot compares with: none to compare (first slot); none at all."""


@inlined
def _pairs(first, second):
    """Tell whether the second command may go in the same cycle, on the other bus."""
    one, other = BUS[u64(first)], BUS[u64(second)]
    return one >= 0 and other >= 0 and one != other


@inlined
def _set_write_mode(s):
    reads, writes = s[LISTED + READS], s[LISTED + WRITES]
    if s[WRITE_MODE] == 0:
        if writes > MANY_WRITES or reads == 0:
            s[WRITE_MODE] = 1
    elif writes < FEW_WRITES and reads != 0:
        s[WRITE_MODE] = 0


@inlined
def _choose(s, constants, clock, first):
    """Choose for one slot: (queue, index, command, next PIM event).

    Where none is chosen, the command is what the second slot compares with: the waiting
    refresh's, a precharge held back for an active request's sake, or NOTHING. The event is 0
    where the PIM queue was not looked through.
    """
    event = np.int64(0)
    if s[LISTED + ACTIVE]:
        index, ready = best(s, constants, ACTIVE, clock)
        if ready:
            slot = slot_at(s, constants, ACTIVE, index)
            command = s[slot + L_NEXT]
            if first == FREE_SLOT or _pairs(first, command):
                if command <= PREPB and command != ACT:
                    # it would close the row of a request that waits for it: its own
                    return np.int64(NO_QUEUE), np.int64(0), command, event
                return ACTIVE, np.int64(index), command, event
    if s[REFRESH_IN] != s[REFRESH_OUT]:
        command = np.int64(PREA if s[OPEN_BANKS] else REFAB)
        if first == FREE_SLOT or _pairs(first, command):
            if clock < s[constants[NODES] + command]:
                return np.int64(NO_QUEUE), np.int64(0), command, event
            s[IN_PIM] = 0
            return np.int64(PRIORITY), np.int64(0), command, event
    s[IN_PIM] = 0
    queue, position, command, bank = np.int64(NO_QUEUE), np.int64(0), np.int64(NOTHING), np.int64(0)
    if s[LIVE]:
        position, event = scan(s, constants, clock)
        if position >= 0:
            command = command_at(s, position)
            if first == FREE_SLOT or _pairs(first, command):
                queue, bank = np.int64(PIM), s[BANK_OF + position]
                s[IN_PIM] = 1
            else:
                event = np.int64(0)
    else:
        event = NEVER
    if queue == NO_QUEUE:
        _set_write_mode(s)
        turn = WRITES if s[WRITE_MODE] else READS
        if s[LISTED + turn]:
            index, ready = best(s, constants, turn, clock)
            if ready:
                slot = slot_at(s, constants, turn, index)
                command = s[slot + L_NEXT]
                if first == FREE_SLOT or _pairs(first, command):
                    queue, position, bank = turn, np.int64(index), s[slot + L_BANK]
    if queue == NO_QUEUE:
        return queue, np.int64(0), np.int64(NOTHING), event
    if s[LISTED + ACTIVE] and command <= PREPB and command != ACT:
        for i in range(s[LISTED + ACTIVE]):
            if s[slot_at(s, constants, ACTIVE, i) + L_BANK] == bank:
                return np.int64(NO_QUEUE), np.int64(0), command, np.int64(0)
    return queue, position, command, event


@pasted
def _serve(s, constants, queue, index, command, clock, log, channel):
    """Issue the chosen command and move its request on."""
    row = np.int64(-1)
    if queue == PRIORITY:
        half = s[REFRESH_OUT] % constants[PSEUDO_CHANNELS]
        bank = half * constants[HALF_BANKS]
    elif queue == PIM:
        bank, row = s[u64(BANK_OF + index)], s[u64(ROW_OF + index)]
    else:
        slot = slot_at(s, constants, queue, index)
        bank, row = s[u64(slot + L_BANK)], s[u64(slot + L_ROW)]
    if log[0, 0] < len(log):
        entry = log[log[0, 0]]
        entry[0], entry[1], entry[2], entry[3], entry[4] = clock, channel, command, bank, row
        log[0, 0] += 1
    if queue == PIM and command == s[u64(KIND + index)]:
        drop(s, constants, index, clock)
    issue(s, constants, command, bank, row, clock)
    if queue == PRIORITY:
        s[REFRESH_OUT] += command == REFAB
    elif queue != PIM:
        if command == s[u64(slot + L_FINAL)]:
            if command == RD:
                s[LAST_POP] = max(s[LAST_POP] + 1, clock + constants[READ_LATENCY])
            remove(s, constants, queue, index, clock)
        elif not s[IN_PIM] and command == ACT:
            if (
                s[LISTED + ACTIVE] < QUEUE_ENTRIES
            ):  # a full list loses the request, as in the reference
                moved = append(s, constants, ACTIVE)
                for i in range(FIELDS):
                    s[u64(moved + i)] = s[u64(slot + i)]
            remove(s, constants, queue, index, clock)


@pasted
def tick(s, constants, clock, log, channel):
    """Process one cycle of a class; return the next cycle at which something can happen."""
    if clock == s[NEXT_REFRESH]:
        s[NEXT_REFRESH] += constants[N_REFI]
        s[REFRESH_IN] += constants[PSEUDO_CHANNELS]
    if clock > s[LAST_TICK] + 1:
        s[IN_PIM] = 0  # a cycle without a command ends so
    s[LAST_TICK] = clock
    s[CHANGED] = 0
    first = np.int64(FREE_SLOT)
    issued = False
    event = np.int64(0)
    for _ in range(2):  # one command, and then perhaps one of the other bus
        queue, index, command, event = _choose(s, constants, clock, first)
        if queue != NO_QUEUE:
            _serve(s, constants, queue, index, command, clock, log, channel)
            if first != FREE_SLOT:
                return clock + 1
            issued = True
        if command == NOTHING:
            break
        first = command
    if s[CHANGED] or event == 0:
        return clock + 1
    event = min(event, s[NEXT_REFRESH])
    if s[REFRESH_IN] != s[REFRESH_OUT]:
        command = PREA if s[OPEN_BANKS] else REFAB
        event = min(event, max(s[constants[NODES] + command], clock + 1))
    if listed(s):
        for queue in range(3):
            event = list_event(s, constants, queue, clock, issued, event)
    return event


@inlined
def busy(s):
    """Tell whether a controller has anything left to do."""
    return s[LIVE] != 0 or listed(s) or s[REFRESH_IN] != s[REFRESH_OUT]
