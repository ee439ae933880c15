"""What the walks below bank level have in common: a step's blocks, its slices, what is found."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import numpy as np

from pimreplay.bank_model.kernel.compiling import lowest_bit
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w

(
    FREE,  # cycle from which the MAC bus is free for good
    OPENED,  # rows opened
    OPEN_ROWS,  # rows that are open for a MAC, summed over the MACs
    LEFT_SO,  # how the slice before left the banks, as one number; and the two above then
    OPENED_BEFORE,
    OPEN_BEFORE,
) = range(6)
REGISTERS = 6
"""Of a walk's state, before what it knows of each bank."""


@kernel(forceinline=True, _nrt=False)
def begin_point(blocks, point, s, chosen, found):
    """Write down which blocks are read, and forget the point before; return how many are."""
    n = np.int64(0)
    for word in range(blocks.shape[1]):
        mask = blocks[point, word]
        while mask:  # a byte a block
            chosen[n] = word * 8 + (np.int64(lowest_bit(mask)) >> 3)
            mask &= mask - np.uint64(1)
            n += 1
    for register in range(REGISTERS):
        s[register] = 0
    for field in range(w.FIELDS):
        found[field, point] = 0
    found[w.BLOCKS, point] = n
    return n


@kernel(forceinline=True, _nrt=False)
def note_keys(found, point, s, end):
    """Note the last key's MAC and the rows opened so far."""
    found[w.KEY_END, point] = end
    found[w.KEY_ROWS, point] = s[OPENED]
    found[w.KEY_OPEN, point] = s[OPEN_ROWS]


@kernel(forceinline=True, _nrt=False)
def note_values(found, point, s, p, end, done):
    """Note the last value's MAC at `end`, behind moves until `done`, and the last slice's moves."""
    pace = p[w.CONTEXT_PACE]
    found[w.VALUE_END, point] = end
    found[w.VALUE_ROWS, point] = s[OPENED] - found[w.KEY_ROWS, point]
    found[w.VALUE_OPEN, point] = s[OPEN_ROWS] - found[w.KEY_OPEN, point]
    found[w.END, point] = max(end, done + pace - 1) + 1 + (p[w.CONTEXT_MOVES] - 1) * pace


@kernel(forceinline=True, _nrt=False)
def mix(state, value):
    """Return a number that stands for a state with one more value."""
    return (state ^ value) * np.int64(0x2545F4914F6CDD1D)


@kernel(forceinline=True, _nrt=False)
def repeats(s, left_so, rest, may):
    """Tell whether a slice of values left the banks as the one before did, where that `may` be.

    Then the `rest` will do the same, and open as many rows: they are counted here.
    """
    if left_so == s[LEFT_SO] and may:
        s[OPENED] += rest * (s[OPENED] - s[OPENED_BEFORE])
        s[OPEN_ROWS] += rest * (s[OPEN_ROWS] - s[OPEN_BEFORE])
        return True
    s[LEFT_SO] = left_so
    s[OPENED_BEFORE] = s[OPENED]
    s[OPEN_BEFORE] = s[OPEN_ROWS]
    return False
