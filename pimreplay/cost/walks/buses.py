"""The cycles in which a controller's buses are taken, for the walk at buffer level, compiled.

A bit set holds a bit for each of the last and next few thousand cycles.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel
from pimreplay.cost.walks.bounds import AHEAD

CYCLES = 1 << 12
"""Cycles that a bit set holds; `AHEAD` of them are kept empty."""
WORDS = CYCLES >> 6
ROW_BUS, MACS = 0, WORDS
"""The bit sets."""
ONE = np.uint64(1)


@kernel(forceinline=True, _nrt=False)
def read(bits, which, cycle):
    """Return 64 cycles of a bit set."""
    at = np.uint64(cycle & 63)
    word = (cycle >> 6) & (WORDS - 1)
    after = ((cycle >> 6) + 1) & (WORDS - 1)
    return bits[which + word] >> at | bits[which + after] << ONE << (np.uint64(63) - at)


@kernel(forceinline=True, _nrt=False)
def in_use(bits, cycle):
    """Return the 64 cycles in which a command issues, on either bus."""
    return read(bits, ROW_BUS, cycle) | read(bits, MACS, cycle)


@kernel(forceinline=True, _nrt=False)
def mark(bits, which, cycle, mask):
    """Take the cycles of a mask of 64."""
    at = np.uint64(cycle & 63)
    word = (cycle >> 6) & (WORDS - 1)
    after = ((cycle >> 6) + 1) & (WORDS - 1)
    bits[which + word] |= mask << at
    bits[which + after] |= mask >> ONE >> (np.uint64(63) - at)


@kernel(forceinline=True, _nrt=False)
def clear_ahead(bits, clear, cycle):
    """Empty the bit sets ahead of a cycle; return the first word beyond."""
    while clear << 6 < cycle + AHEAD:
        bits[ROW_BUS + (clear & (WORDS - 1))] = 0
        bits[MACS + (clear & (WORDS - 1))] = 0
        clear += 1
    return clear


@kernel(forceinline=True, _nrt=False)
def precharge(bits, cycle):
    """Take the first cycle from one on in which no command issues: nothing pairs with this one."""
    room = ~in_use(bits, cycle)
    while room == 0:
        cycle += 64
        room = ~in_use(bits, cycle)
    cycle += np.int64(lowest_bit(room))
    mark(bits, ROW_BUS, cycle, ONE)
    return cycle


@kernel(forceinline=True, _nrt=False)
def activate(bits, cycle):
    """Take the first two cycles of the row bus from one on; return the first."""
    room = ~read(bits, ROW_BUS, cycle)
    room &= room >> ONE
    while room == 0:
        cycle += 63
        room = ~read(bits, ROW_BUS, cycle)
        room &= room >> ONE
    cycle += np.int64(lowest_bit(room))
    mark(bits, ROW_BUS, cycle, np.uint64(3))
    return cycle
