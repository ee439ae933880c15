"""The PIM queue: bit masks over its entries in order of age.

One mask for each thing that an entry can wait for, so that a decision looks at a few masks and not
at 33 entries.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import (
    ACTAB,
    BARRIER,
    BRINGS,
    MACAB,
    MACPB,
    PREA,
    SFM,
    WRGB,
)
from pimreplay.bank_model.kernel.compiling import called, inlined, lowest_bit, u64
from pimreplay.bank_model.kernel.constants import CHANNEL_BANKS, LISTS, MASKS, WORDS
from pimreplay.bank_model.kernel.open_rows import classify
from pimreplay.bank_model.kernel.state import (
    AGE,
    BANK_OF,
    BARRIERS,
    CHANGED,
    COUNT,
    FREE,
    HITS,
    KIND,
    LAST_REMOVAL,
    LIVE,
    MAC_WORDS,
    MACS_ALL,
    MACS_SAME,
    MACS_SINGLE,
    NEVER,
    POSITIONS,
    ROW_OF,
    TO_CLOSE,
    TO_OPEN,
    WORD,
)
from pimreplay.bank_model.kernel.timing import ready_cycle


@inlined
def _set_bits(s, constants, position):
    """Enter a position into the masks of what it waits for."""
    final, bank = s[u64(KIND + position)], s[u64(BANK_OF + position)]
    bit = np.int64(1) << position
    s[LIVE] |= bit
    if final == BARRIER:
        s[BARRIERS] |= bit
        return
    kind = final - MACAB + 1 if final <= MACPB else 0
    s[u64(constants[MASKS] + kind * constants[CHANNEL_BANKS] + bank)] |= bit
    s[u64(MAC_WORDS + kind * constants[WORDS] + bank // WORD)] |= np.int64(1) << (bank % WORD)
    if final <= MACPB:
        s[u64(MACS_ALL + kind - 1)] |= bit
        classify(s, constants, position)
    elif final >= SFM:
        s[FREE] |= bit


@called
def _pack(s, constants):
    """Make room for younger entries: give the live ones lower positions, in the same order."""
    live = s[LIVE]
    lowest = lowest_bit(live)
    if lowest >= POSITIONS // 4:
        for i in range(LIVE, TO_CLOSE + 1):
            s[u64(i)] >>= lowest
        for i in range(4 * constants[WORDS]):
            first = constants[MASKS] + i // constants[WORDS] * constants[CHANNEL_BANKS]
            first += i % constants[WORDS] * WORD
            banks = s[u64(MAC_WORDS + i)]
            while banks:
                s[u64(first + lowest_bit(banks))] >>= lowest
                banks &= banks - 1
        for i in range(POSITIONS - lowest):
            s[u64(KIND + i)] = s[u64(KIND + i + lowest)]
            s[u64(BANK_OF + i)] = s[u64(BANK_OF + i + lowest)]
            s[u64(ROW_OF + i)] = s[u64(ROW_OF + i + lowest)]
        s[AGE] = POSITIONS - lowest
        return
    for i in range(LIVE, TO_CLOSE + 1):
        s[u64(i)] = 0
    for i in range(MAC_WORDS, constants[LISTS]):
        s[u64(i)] = 0
    n = np.int64(0)
    while live:
        position = lowest_bit(live)
        live &= live - 1
        s[u64(KIND + n)] = s[u64(KIND + position)]
        s[u64(BANK_OF + n)] = s[u64(BANK_OF + position)]
        s[u64(ROW_OF + n)] = s[u64(ROW_OF + position)]
        _set_bits(s, constants, n)
        n += 1
    s[AGE] = n


@inlined
def push(s, constants, final, bank, row):
    """Put a request into the queue; return its position."""
    if s[LIVE] == 0:
        s[AGE] = 0
    elif s[AGE] == POSITIONS:
        _pack(s, constants)
    position = s[AGE]
    s[AGE] = position + 1
    s[COUNT] += 1
    s[u64(KIND + position)] = final
    s[u64(BANK_OF + position)] = bank
    s[u64(ROW_OF + position)] = row
    _set_bits(s, constants, position)
    return position


@inlined
def drop(s, constants, position, clock):
    """Take an entry out of the PIM queue."""
    final, bank = s[u64(KIND + position)], s[u64(BANK_OF + position)]
    keep = ~(np.int64(1) << position)
    s[LIVE] &= keep
    s[COUNT] -= 1
    s[LAST_REMOVAL] = clock
    if final == BARRIER:
        s[BARRIERS] &= keep
        return
    kind = final - MACAB + 1 if final <= MACPB else 0
    mask = constants[MASKS] + kind * constants[CHANNEL_BANKS] + bank
    s[u64(mask)] &= keep
    if s[u64(mask)] == 0:
        s[u64(MAC_WORDS + kind * constants[WORDS] + bank // WORD)] &= ~(
            np.int64(1) << (bank % WORD)
        )
    if final <= MACPB:
        s[u64(MACS_ALL + kind - 1)] &= keep
        s[HITS] &= keep
    elif final >= SFM:
        s[FREE] &= keep


@inlined
def command_at(s, position):
    """Return the command that an entry of the PIM queue would issue."""
    final = s[u64(KIND + position)]
    if MACAB <= final <= MACPB:
        bit = np.int64(1) << position
        if s[TO_OPEN] & bit:
            return final - MACAB + ACTAB
        if s[TO_CLOSE] & bit:
            return final - MACAB + PREA
    return final


@inlined
def _wanted(s, constants, bank):
    """Tell whether a MAC in the queue can read the open row of this bank at once."""
    at, step = constants[MASKS] + bank, constants[CHANNEL_BANKS]
    return (s[u64(at + step)] | s[u64(at + 2 * step)] | s[u64(at + 3 * step)]) & s[HITS] != 0


@inlined
def scan(s, constants, clock):
    """Return (position, next cycle at which one more turns ready) of the best PIM request.

    Position -1: none is ready. First come first served among what is ready; nothing but a
    precharge or activate passes a barrier; a younger request may not overtake an older one that
    is not ready if its bank's open row is wanted by another. The cycle is 0 where it was not
    worth finding out.
    """
    live = s[LIVE]
    if live & -live & s[BARRIERS]:
        drop(s, constants, lowest_bit(live), clock)
        s[CHANGED] = 1
        live = s[LIVE]
    event = NEVER
    if live == 0:
        return np.int64(-1), event
    first = lowest_bit(live)
    head = np.int64(1) << first
    if s[u64(KIND + first)] == BARRIER:
        return first, np.int64(0)
    command = command_at(s, first)
    if clock >= ready_cycle(s, constants, command, s[u64(BANK_OF + first)]):
        return first, np.int64(0)
    barriers = s[BARRIERS]
    below = (barriers & -barriers) - 1 if barriers else np.int64(-1)
    found = np.int64(0)
    if live & ~(s[MACS_ALL] | s[MACS_SAME] | s[MACS_SINGLE] | barriers):
        for word in range(constants[WORDS]):
            banks = s[u64(MAC_WORDS + word)]
            while banks:
                bank = word * WORD + lowest_bit(banks)
                banks &= banks - 1
                moves = s[u64(constants[MASKS] + bank)] & below
                ready = moves & s[FREE]
                moves &= ~ready
                if moves:
                    cycle = ready_cycle(s, constants, np.int64(WRGB), bank)
                    if cycle <= clock:
                        ready |= moves
                    elif cycle < event:
                        event = cycle
                if ready and not _wanted(s, constants, bank):
                    found |= ready
    for kind in range(3 if s[MACS_SAME] | s[MACS_SINGLE] else 1):
        if s[u64(MACS_ALL + kind)] == 0:
            continue
        for word in range(constants[WORDS]):
            banks = s[u64(MAC_WORDS + (kind + 1) * constants[WORDS] + word)]
            while banks:
                bank = word * WORD + lowest_bit(banks)
                banks &= banks - 1
                macs = s[u64(constants[MASKS] + (kind + 1) * constants[CHANNEL_BANKS] + bank)]
                for need in range(3):
                    part = macs & s[u64(HITS + need)]
                    if need == 0:
                        part &= below
                    if part:
                        cycle = ready_cycle(s, constants, BRINGS[need] + kind, bank)
                        if cycle > clock:
                            event = min(event, cycle)
                        elif need == 0 or not _wanted(s, constants, bank):
                            found |= part
    found &= ~head  # the oldest is known not to be ready
    if found == 0:
        return np.int64(-1), event
    return lowest_bit(found), event
