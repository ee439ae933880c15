"""A controller's queue, for the walks below bank level, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w

ROOM = 128
"""Runs of entries that leave one after the other, at least one entry each; a power of two."""
LEAVE, ENTRIES, PACE = (ROOM * i for i in range(3))
"""Of the queue's runs: cycle of the last entry, entries, cycles between them."""
HEAD, TAIL, HELD = range(3 * ROOM, 3 * ROOM + 3)
"""First run, the one behind the last, and entries in all of them."""
QUEUE = 3 * ROOM + 3


@kernel(forceinline=True, _nrt=False)
def enter(s, cycle, entries, pace):
    """Put entries into the queue behind those that leave before them."""
    at = s[TAIL]
    while at > s[HEAD] and s[LEAVE + ((at - 1) & (ROOM - 1))] > cycle:
        here, before = at & (ROOM - 1), (at - 1) & (ROOM - 1)
        s[LEAVE + here] = s[LEAVE + before]
        s[ENTRIES + here] = s[ENTRIES + before]
        s[PACE + here] = s[PACE + before]
        at -= 1
    at &= ROOM - 1
    s[LEAVE + at] = cycle
    s[ENTRIES + at] = entries
    s[PACE + at] = pace
    s[TAIL] += 1
    s[HELD] += entries


@kernel(forceinline=True, _nrt=False)
def see(s):
    """Let so many entries leave that the controller sees one more; return the cycle of that."""
    cycle = np.int64(0)
    missing = s[HELD] + 1 - QUEUE_ENTRIES
    head = s[HEAD]
    while missing > 0:
        at = head & (ROOM - 1)
        leaving = min(s[ENTRIES + at], missing)
        s[ENTRIES + at] -= leaving
        cycle = max(cycle, s[LEAVE + at] - s[ENTRIES + at] * s[PACE + at])
        missing -= leaving
        head += s[ENTRIES + at] == 0
    s[HEAD] = head
    s[HELD] = min(s[HELD], QUEUE_ENTRIES - 1)
    return cycle + 1


@kernel(forceinline=True, _nrt=False)
def write_queries(s, p):
    """Put the queries' writes and their barrier into an empty queue.

    Returns the cycle from which keys may be read.
    """
    s[HEAD] = s[TAIL] = s[HELD] = 0
    start = 2 + (p[w.WRITES] - 1) * p[w.SAME]
    enter(s, start - 1, p[w.WRITES], p[w.SAME])
    enter(s, start, 1, 0)
    return start


@kernel(forceinline=True, _nrt=False)
def hand_over(s, p, softmax, blocks, end, done):
    """Put what follows the keys into the queue: scores out, softmax, probabilities in.

    Keys' MACs end at `end` and the moves beside them at `done`; `softmax` is that of
    `softmax.softmax_times`. Returns the cycle from which values may be read.
    """
    pace = p[w.SCORE_PACE]
    over = max(np.int64(0), done + pace - end - 1)
    each = -(-blocks // p[w.WORDS])
    start = end + over + softmax[each, 0]
    seen = end + over + softmax[each, 1]
    moves = p[w.SCORE_MOVES] + p[w.QUERIES] + p[w.TARGETS] * each
    moves = min(np.int64(QUEUE_ENTRIES), moves)
    enter(s, start - 1, moves, min(pace, (start - seen) // moves))
    return start
