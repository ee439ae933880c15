"""A controller's queue, for the walks below bank level, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import numpy as np

from pimreplay.compiled import kernel
from pimreplay.cost.walks import all_bank as w

ROOM = 128
"""Runs of entries that leave one after the other, at least one entry each; a power of two."""
LEAVE, ENTRIES, PACE = (ROOM * i for i in range(3))
"""Of the queue's runs: cycle of the last entry, entries, cycles between them."""
QUEUE = 3 * ROOM


@kernel(forceinline=True)
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


@kernel(forceinline=True)
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


@kernel(forceinline=True)
def hand_over(s, head, tail, p, tails, blocks, end, done):
    """Put what lies between the products into the queue: scores out, softmax, probabilities in.

    Keys' MACs end at `end` and the moves beside them at `done`. Returns the queue's end, the
    entries put in, and the cycle from which values may be read.
    """
    pace = p[w.SCORE_PACE]
    over = max(np.int64(0), done + pace - end - 1)
    each = -(-blocks // p[w.WORDS])
    start = end + over + tails[each, 0]
    seen = end + over + tails[each, 1]
    moves = p[w.SCORE_MOVES] + p[w.QUERIES] + p[w.TARGETS] * each
    moves = min(np.int64(w.WINDOW), moves)
    return enter(s, head, tail, start - 1, moves, min(pace, (start - seen) // moves)), moves, start


@kernel(forceinline=True)
def mix(state, value):
    """Return a number that stands for a state with one more value."""
    return (state ^ value) * np.int64(0x2545F4914F6CDD1D)
