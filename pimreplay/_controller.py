"""A controller's queue and the cycles in which its buses are taken, for the walks, compiled.

A bit set holds a bit for each of the last and next few thousand cycles.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import numpy as np
from numba import njit

from pimreplay import _walk as w
from pimreplay._kernel import lowest_bit

ROOM = 128
"""Runs of the queue, at least one entry each; a power of two."""
CYCLES = 1 << 12
"""Cycles that a bit set holds, and how many of them are kept empty ahead."""
AHEAD = 1 << 10
WORDS = CYCLES >> 6
ROW_BUS, MACS = 0, WORDS
"""The bit sets."""
LEAVE, ENTRIES, PACE = (ROOM * i for i in range(3))
"""Of the queue's runs: cycle of the last entry, entries, cycles between them."""
QUEUE = 3 * ROOM
ONE = np.uint64(1)


@njit(cache=True, forceinline=True, error_model="numpy")
def enter(s, head, tail, cycle, entries, pace):
    """Put entries into the queue behind those that leave before them; return the queue's end."""
    at = tail
    while at > head and s[LEAVE + ((at - 1) & (ROOM - 1))] > cycle:
        here, before = at & (ROOM - 1), (at - 1) & (ROOM - 1)
        s[LEAVE + here] = s[LEAVE + before]
        s[ENTRIES + here] = s[ENTRIES + before]
        s[PACE + here] = s[PACE + before]
        at -= 1
    at &= ROOM - 1
    s[LEAVE + at] = cycle
    s[ENTRIES + at] = entries
    s[PACE + at] = pace
    return tail + 1


@njit(cache=True, forceinline=True, error_model="numpy")
def see(s, head, held):
    """Let so many of the entries leave that the controller sees one more.

    Returns the queue's beginning, the entries left, and the cycle at which the next one is seen.
    """
    cycle = np.int64(0)
    missing = held + 1 - w.WINDOW
    while missing > 0:
        at = head & (ROOM - 1)
        leaving = min(s[ENTRIES + at], missing)
        s[ENTRIES + at] -= leaving
        cycle = max(cycle, s[LEAVE + at] - s[ENTRIES + at] * s[PACE + at])
        missing -= leaving
        head += s[ENTRIES + at] == 0
    return head, min(held, w.WINDOW - 1), cycle + 1


@njit(cache=True, forceinline=True, error_model="numpy")
def hand_over(s, head, tail, p, tails, blocks, end, done, pace):
    """Put what lies between the products into the queue: scores out, softmax, probabilities in.

    Keys' MACs end at `end` and the moves beside them at `done`. Returns the queue's end, the
    entries put in, and the cycle from which values may be read.
    """
    over = max(np.int64(0), done + pace - end - 1)
    each = -(-blocks // p[w.WORDS])
    start = end + over + tails[each, 0]
    seen = end + over + tails[each, 1]
    moves = p[w.SCORE_MOVES] + p[w.QUERIES] + p[w.TARGETS] * each
    moves = min(np.int64(w.WINDOW), moves)
    return enter(s, head, tail, start - 1, moves, min(pace, (start - seen) // moves)), moves, start


@njit(cache=True, forceinline=True, error_model="numpy")
def read(bits, which, cycle):
    """Return 64 cycles of a bit set."""
    at = np.uint64(cycle & 63)
    word = (cycle >> 6) & (WORDS - 1)
    after = ((cycle >> 6) + 1) & (WORDS - 1)
    return bits[which + word] >> at | bits[which + after] << ONE << (np.uint64(63) - at)


@njit(cache=True, forceinline=True, error_model="numpy")
def mark(bits, which, cycle, mask):
    """Take the cycles of a mask of 64."""
    at = np.uint64(cycle & 63)
    word = (cycle >> 6) & (WORDS - 1)
    after = ((cycle >> 6) + 1) & (WORDS - 1)
    bits[which + word] |= mask << at
    bits[which + after] |= mask >> ONE >> (np.uint64(63) - at)


@njit(cache=True, forceinline=True, error_model="numpy")
def clear(bits, clear, cycle):
    """Empty the bit sets ahead of a cycle; return the first word beyond."""
    while clear << 6 < cycle + AHEAD:
        bits[ROW_BUS + (clear & (WORDS - 1))] = 0
        bits[MACS + (clear & (WORDS - 1))] = 0
        clear += 1
    return clear


@njit(cache=True, forceinline=True, error_model="numpy")
def precharge(bits, cycle):
    """Take the first cycle from one on in which no command issues: nothing pairs with this one."""
    room = ~(read(bits, ROW_BUS, cycle) | read(bits, MACS, cycle))
    while room == 0:
        cycle += 64
        room = ~(read(bits, ROW_BUS, cycle) | read(bits, MACS, cycle))
    cycle += np.int64(lowest_bit(room))
    mark(bits, ROW_BUS, cycle, ONE)
    return cycle


@njit(cache=True, forceinline=True, error_model="numpy")
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


@njit(cache=True, forceinline=True, error_model="numpy")
def mix(state, value):
    """Return a number that stands for a state with one more value."""
    return (state ^ value) * np.int64(0x2545F4914F6CDD1D)
