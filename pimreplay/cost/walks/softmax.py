"""From the last key's MAC to the first value's: scores out, softmax, probabilities in; compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, arg-type"

import numpy as np

from pimreplay.bank_model.limits import QUEUE_ENTRIES
from pimreplay.compiled import kernel
from pimreplay.cost.walks import parameters as w


@kernel()
def softmax_times(p, groups, score_moves, targets, longest):
    """Return when values may be read, for 1 to `longest` columns a GEMV buffer.

    Moves of the last scores, softmax, probabilities to each GEMV buffer in turn, one query head
    after the other; the controller serves the oldest ready one of those it sees. (longest + 1, 2):
    cycles after the last key's MAC at which the barrier falls, and at which the first request
    behind it is seen. `groups` is the bank group of each score move and of each buffer.
    """
    bus, same, queries = p[w.BUS], p[w.SAME], p[w.QUERIES]
    found = np.zeros((longest + 1, 2), dtype=np.int64)
    ready = np.zeros(groups.max() + 1, dtype=np.int64)
    queue = np.zeros(QUEUE_ENTRIES, dtype=np.int64)
    for each in range(1, longest + 1):
        moves = queries * score_moves
        total = moves + queries + queries * targets * each
        ready[:] = 0
        free = np.int64(0)
        clock = np.int64(0)
        seen = np.int64(0)
        held = 0
        following = 0
        while held or following < total:
            while held < QUEUE_ENTRIES and following < total:
                if following < moves:
                    queue[held] = groups[following % score_moves]
                elif following < moves + queries:
                    queue[held] = -1
                else:
                    at = (following - moves - queries) // each % targets
                    queue[held] = groups[score_moves + at]
                held += 1
                following += 1
            if held < QUEUE_ENTRIES and seen == 0:
                seen = max(clock, 1)
            clock += 1
            best = -1
            soonest = np.int64(w.NEVER)
            for i in range(held):
                group = queue[i]
                when = clock if group < 0 else max(free, ready[group])
                soonest = min(soonest, when)
                if when <= clock:
                    best = i
                    break
            if best < 0:
                clock = soonest - 1
                continue
            group = max(queue[best], 0)
            ready[group] = clock + same
            free = clock + bus
            held -= 1
            for i in range(best, held):
                queue[i] = queue[i + 1]
        found[each, 0] = clock + 1
        found[each, 1] = seen + 1
    return found
