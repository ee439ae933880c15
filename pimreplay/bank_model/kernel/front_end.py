"""The front end, which hands requests to the channels, and the loop over time."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import BARRIER, FINAL, RD, ST, WR
from pimreplay.bank_model.kernel.compiling import called, from_python, inlined, pasted, u64
from pimreplay.bank_model.kernel.constants import (
    HALF_BANKS,
    PSEUDO_CHANNELS,
    ROW_ROOM,
    SHIFT_BANK,
    SHIFT_CHANNEL,
    SHIFT_HALF,
    SHIFT_ROW,
)
from pimreplay.bank_model.kernel.controller import busy, tick
from pimreplay.bank_model.kernel.lists import append, listed, slot_at
from pimreplay.bank_model.kernel.pim_queue import command_at, push
from pimreplay.bank_model.kernel.state import (
    COUNT,
    L_ADDRESS,
    L_ARRIVE,
    L_BANK,
    L_FINAL,
    L_ROW,
    L_SEEN,
    LAST_POP,
    LAST_REMOVAL,
    LISTED,
    LIVE,
    MOST_ROWS,
    NEVER,
    READS,
    REFRESH_IN,
    REFRESH_OUT,
    WRITES,
)
from pimreplay.bank_model.kernel.timing import ready_cycle
from pimreplay.bank_model.limits import QUEUE_ENTRIES, REFRESH_ENTRIES, STUCK_CYCLES

MOST_EACH = 8
"""The most requests in a row to one channel that are looked for in the next channels too."""
CLOCK, CLASSES, HELD, WIDER_ROWS, ERROR = range(5)
"""Global scalars; HELD: size of the group of requests that waits for a full queue."""
OK, STUCK, REFRESHES_LOST = range(3)
CLASS_OF, FIRST_OF, SIZE_OF, EVENT = range(4)
"""Rows of `classes`: class of each channel; first channel, size and next event of each class."""


@called
def _split(state, classes, scalars, target, keep):
    """Split a class: its first `keep` members stay, the rest become a new class."""
    new = scalars[CLASSES]
    scalars[CLASSES] += 1
    for i in range(state.shape[1]):  # loops compile faster than slices, which carry messages
        state[new, i] = state[target, i]
    classes[EVENT, new] = classes[EVENT, target]
    seen = np.int64(0)
    for channel in range(classes.shape[1]):
        if classes[CLASS_OF, channel] == target:
            if seen == keep:
                classes[FIRST_OF, new] = channel
            if seen >= keep:
                classes[CLASS_OF, channel] = new
            seen += 1
    classes[SIZE_OF, new] = seen - keep
    classes[SIZE_OF, target] = keep


@called
def _batch(state, constants, classes, scalars, kinds, addresses, position, last, fold):
    """Return (channels, requests each) that go to one class from `position`; (0, 0): need input.

    The front end goes round the channels with one request for each, or with a few for each; these
    only where all of them find room at once, because channels that wait for room part ways.
    """
    shift = constants[SHIFT_CHANNEL]
    address = addresses[position]
    channel = address >> shift
    target = classes[CLASS_OF, channel]
    if classes[FIRST_OF, target] != channel:
        before = np.int64(0)
        for i in range(channel):
            if classes[CLASS_OF, i] == target:
                before += 1
        _split(state, classes, scalars, target, before)
        target = classes[CLASS_OF, channel]
    if not fold and classes[SIZE_OF, target] > 1:
        _split(state, classes, scalars, target, np.int64(1))
    size = classes[SIZE_OF, target]
    if size == 1:
        return np.int64(1), np.int64(1)
    room = min(QUEUE_ENTRIES - state[target, COUNT], MOST_EACH)
    each = np.int64(1)
    while each < room and kinds[position] > ST:
        at = position + each
        if at >= len(kinds):
            if not last:
                return np.int64(0), np.int64(0)
            break
        if addresses[at] >> shift != channel or kinds[at] <= ST:
            break
        each += 1
    same = np.int64(1)
    member = channel
    matches = True
    while same < size:
        member += 1
        while classes[CLASS_OF, member] != target:
            member += 1
        for i in range(position, position + each):
            at = i + same * each
            if at >= len(kinds):
                if not last:
                    return np.int64(0), np.int64(0)
                matches = False
                break
            if kinds[at] != kinds[i] or addresses[at] - addresses[i] != (member - channel) << shift:
                matches = False
                break
        if not matches:
            break
        same += 1
    if same < size:
        _split(state, classes, scalars, target, same)
    return same, each


@inlined
def _send(s, constants, kind, address, clock, event):
    """Hand a request to a controller; return its class's next event, -1 when its queue is full."""
    final = FINAL[u64(kind)]
    if final > WR and s[COUNT] >= QUEUE_ENTRIES:
        return np.int64(-1)
    address &= (
        np.int64(1) << constants[SHIFT_CHANNEL]
    ) - 1  # the channels of a class share the rest
    shift = constants[SHIFT_BANK]
    row = (address >> constants[SHIFT_ROW]) & ((np.int64(1) << (shift - constants[SHIFT_ROW])) - 1)
    half = (address >> constants[SHIFT_HALF]) & (constants[PSEUDO_CHANNELS] - 1)
    bank = (address >> shift) & ((np.int64(1) << (constants[SHIFT_HALF] - shift)) - 1)
    bank += half * constants[HALF_BANKS]
    if final > WR:
        position = push(s, constants, final, bank, row)
        s[LAST_REMOVAL] = clock
        if s[COUNT] == 1:
            return clock + 1
        if event > clock + 1 and final != BARRIER:
            cycle = ready_cycle(s, constants, command_at(s, position), bank)
            return min(event, max(clock + 1, cycle))
        return event
    if final == RD:
        for i in range(s[LISTED + WRITES]):
            # the data is still here: it leaves one cycle later without touching the banks
            if s[u64(slot_at(s, constants, WRITES, i) + L_ADDRESS)] == address:
                s[LAST_POP] = max(s[LAST_POP] + 1, clock + 1)
                return event
    queue = READS if final == RD else WRITES
    if s[u64(LISTED + queue)] >= QUEUE_ENTRIES:
        return np.int64(-1)
    slot = append(s, constants, queue)
    s[LAST_REMOVAL] = clock
    s[u64(slot + L_FINAL)] = final
    s[u64(slot + L_BANK)] = bank
    s[u64(slot + L_ROW)] = row
    s[u64(slot + L_ADDRESS)] = address
    s[u64(slot + L_ARRIVE)] = clock
    s[u64(slot + L_SEEN)] = 0
    return clock + 1  # the write mode may turn


@pasted
def _advance(s, constants, event, until, scalars, log, channel):
    """Process the cycles of a class up to `until`, its next event; return the event after that."""
    while event <= until and scalars[ERROR] == OK and scalars[WIDER_ROWS] == 0:
        clock = event
        event = tick(s, constants, clock, log, channel)
        if s[REFRESH_IN] - s[REFRESH_OUT] > REFRESH_ENTRIES:
            scalars[ERROR] = REFRESHES_LOST
        if clock - s[LAST_REMOVAL] > STUCK_CYCLES and (s[LIVE] or listed(s)):
            scalars[ERROR] = STUCK
        if s[MOST_ROWS] + 2 > constants[ROW_ROOM]:  # a cycle opens at most two more
            scalars[WIDER_ROWS] = 1
    return event


@from_python
def run(state, constants, classes, scalars, kinds, addresses, last, fold, log):
    """Feed requests and advance time; return how many requests were taken.

    Channels meet at the front end only. So each class lags behind until a request is for it, and
    then goes through all its cycles up to the present, or on to the one that makes room.

    Returns when the input is used up (`last` False: feed more, the rest first), or, with
    `last`, when every queue is empty: `scalars[CLOCK]` is then the answer. A return with
    scalars[WIDER_ROWS] set asks for more room for rows.
    """
    position = np.int64(0)
    clock = scalars[CLOCK]
    n = len(kinds)
    while position < n or last:
        draining = position >= n
        first, end = np.int64(0), scalars[CLASSES]
        if not draining:
            first = classes[CLASS_OF, u64(addresses[u64(position)] >> constants[SHIFT_CHANNEL])]
            end = first + 1
        event = NEVER
        for k in range(first, end):
            at = u64(k)
            due = _advance(
                state[at], constants, classes[EVENT, at], clock, scalars, log, classes[FIRST_OF, at]
            )
            classes[EVENT, at] = due
            event = min(event, due)
        if scalars[ERROR] or scalars[WIDER_ROWS]:
            break
        if draining:
            working = False
            for k in range(scalars[CLASSES]):
                working = working or busy(state[k])
                if state[k, LAST_POP] > clock:
                    working = True
                    event = min(event, state[k, LAST_POP])
            if not working and clock > 0:
                break
            clock = event
            continue
        size, each = scalars[HELD], np.int64(1)
        if size == 0:
            size = classes[SIZE_OF, u64(first)]
            if size > 1:
                size, each = _batch(
                    state, constants, classes, scalars, kinds, addresses, position, last, fold
                )
                if size == 0:
                    break
                first = classes[CLASS_OF, u64(addresses[u64(position)] >> constants[SHIFT_CHANNEL])]
        event = np.int64(0)
        at = u64(first)
        for i in range(position, position + each):
            event = _send(
                state[at], constants, kinds[u64(i)], addresses[u64(i)], clock, classes[EVENT, at]
            )
            if event >= 0:
                classes[EVENT, at] = event
        if event < 0:
            scalars[HELD] = size
            clock = classes[EVENT, at]
        else:
            scalars[HELD] = 0
            position += size * each
    scalars[CLOCK] = clock
    return position
