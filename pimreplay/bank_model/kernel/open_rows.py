"""Open rows: a bank may hold several, for an all-bank activate opens its row beside others."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc, arg-type"

import numpy as np

from pimreplay.bank_model.kernel.commands import (
    ACT,
    ACTAB,
    CLOSER,
    MACAB,
    MACPB,
    OPENER,
    PRE,
    PREA,
    RD,
)
from pimreplay.bank_model.kernel.compiling import called, inlined, lowest_bit, u64
from pimreplay.bank_model.kernel.constants import CHANNEL_BANKS, OPEN, ROW_ROOM, ROWS, STRIDES
from pimreplay.bank_model.kernel.state import (
    ALL_CLOSED,
    ALL_ROW,
    BANK_OF,
    HITS,
    KIND,
    MACS_ALL,
    MACS_SAME,
    MACS_SINGLE,
    MIXED,
    MOST_ROWS,
    OPEN_BANKS,
    POSITIONS,
    ROW_OF,
    TO_CLOSE,
    TO_OPEN,
    VERSION,
)


@inlined
def _stride(constants, final):
    """Return the distance between the banks that a command works on: one of this many."""
    return constants[STRIDES + (final - MACAB + 1 if MACAB <= final <= MACPB else 0)]


@inlined
def _is_open(s, constants, bank, n, row):
    """Tell whether the row is among the first `n` that a bank has open."""
    first = constants[ROWS] + bank * constants[ROW_ROOM]
    for i in range(first, first + n):  # noqa: SIM110 - numba compiles no generator
        if s[i] == row:
            return True
    return False


@called
def _next_in_banks(s, constants, final, bank, row):
    """Return what brings a request forward where banks have different rows open."""
    stride = _stride(constants, final)
    for at in range(bank % stride, constants[CHANNEL_BANKS], stride):  # the first not ready decides
        n = s[constants[OPEN] + at]
        if n == 0:
            return OPENER[final]
        if not _is_open(s, constants, at, n, row):
            return CLOSER[final]
    return final


@inlined
def next_command(s, constants, final, bank, row):
    """Return what brings a request forward: its own command, or what opens or closes a row."""
    if s[ALL_ROW] == row:
        return final
    if s[ALL_ROW] == ALL_CLOSED:
        return OPENER[final]
    if s[ALL_ROW] != MIXED:
        return CLOSER[final]
    return _next_in_banks(s, constants, final, bank, row)


@called
def _spell_out(s, constants):
    """Write down each bank's open rows where all were alike."""
    if s[ALL_ROW] == MIXED:
        return
    n = 0 if s[ALL_ROW] == ALL_CLOSED else 1
    for bank in range(constants[CHANNEL_BANKS]):
        s[constants[OPEN] + bank] = n
        s[constants[ROWS] + bank * constants[ROW_ROOM]] = s[ALL_ROW]
    s[ALL_ROW] = MIXED


@inlined
def _open_row(s, constants, bank, row):
    n = s[constants[OPEN] + bank]
    if _is_open(s, constants, bank, n, row):
        return
    if n == 0:
        s[OPEN_BANKS] += 1
    s[constants[ROWS] + bank * constants[ROW_ROOM] + n] = row
    s[constants[OPEN] + bank] = n + 1
    s[MOST_ROWS] = max(s[MOST_ROWS], n + 1)


@called
def change_rows(s, constants, command, bank, row):
    """Open or close what a row command opens or closes."""
    if command == PREA:
        s[ALL_ROW] = ALL_CLOSED
        s[OPEN_BANKS] = 0
    elif command == ACTAB and s[ALL_ROW] == ALL_CLOSED:
        s[ALL_ROW] = row
        s[OPEN_BANKS] = constants[CHANNEL_BANKS]
    else:
        _spell_out(s, constants)
        if command == ACT or command >= ACTAB:
            final = RD if command == ACT else command - ACTAB + MACAB
            stride = _stride(constants, final)
            for at in range(bank % stride, constants[CHANNEL_BANKS], stride):
                _open_row(s, constants, at, row)
        else:  # PRESB, too, closes one bank of each pseudo-channel only
            final = RD if command == PRE else MACPB
            stride = _stride(constants, final)
            for at in range(bank % stride, constants[CHANNEL_BANKS], stride):
                if s[u64(constants[OPEN] + at)]:
                    s[OPEN_BANKS] -= 1
                    s[u64(constants[OPEN] + at)] = 0
    s[VERSION] += 1
    waiting = s[MACS_ALL] | s[MACS_SAME] | s[MACS_SINGLE]
    s[HITS] = 0
    s[TO_OPEN] = 0
    s[TO_CLOSE] = 0
    if s[ALL_ROW] == ALL_CLOSED:
        s[TO_OPEN] = waiting
    elif s[ALL_ROW] != MIXED:
        hits = np.int64(0)
        for position in range(POSITIONS):  # all, because the compiler then takes several at once
            hits |= np.int64(s[u64(ROW_OF + position)] == s[ALL_ROW]) << position
        hits &= waiting
        s[HITS] = hits
        s[TO_CLOSE] = waiting & ~hits
    else:
        while waiting:
            classify(s, constants, lowest_bit(waiting))
            waiting &= waiting - 1


@inlined
def classify(s, constants, position):
    """Note what a MAC of the PIM queue needs next."""
    final = s[KIND + position]
    command = next_command(s, constants, final, s[BANK_OF + position], s[ROW_OF + position])
    bit = np.int64(1) << position
    if command == final:
        s[HITS] |= bit
    elif command >= ACTAB:
        s[TO_OPEN] |= bit
    else:
        s[TO_CLOSE] |= bit
