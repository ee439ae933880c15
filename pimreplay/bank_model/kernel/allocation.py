"""The state before the first cycle, and more room for it."""

from typing import Any

import numpy as np

from pimreplay.bank_model.kernel.constants import (
    CHANNEL_BANKS,
    HISTORY,
    LISTS,
    N_REFI,
    OPEN,
    ROW_ROOM,
    ROWS,
    SIZE,
)
from pimreplay.bank_model.kernel.state import ALL_CLOSED, ALL_ROW, LIST, NEVER, NEXT_REFRESH
from pimreplay.bank_model.limits import QUEUE_ENTRIES


def new_state(constants: Any, channels: int) -> Any:
    """Return the state before the first cycle: all channels are in class 0."""
    state = np.zeros((channels, constants[SIZE]), dtype=np.int64)
    first = state[0]  # a split copies it
    first[ALL_ROW] = ALL_CLOSED
    first[NEXT_REFRESH] = constants[N_REFI] if constants[N_REFI] else NEVER
    first[constants[HISTORY] : constants[OPEN]] = -NEVER
    for queue in range(3):
        order = constants[LISTS] + queue * LIST
        first[order : order + QUEUE_ENTRIES] = np.arange(QUEUE_ENTRIES)
    return state


def more_row_room(state: Any, constants: Any) -> tuple[Any, Any]:
    """Return the state and the constants with room for twice as many open rows a bank."""
    wider = constants.copy()
    wider[ROW_ROOM] *= 2
    wider[SIZE] += constants[SIZE] - constants[ROWS]
    grown = np.zeros((len(state), wider[SIZE]), dtype=np.int64)
    grown[:, : constants[ROWS]] = state[:, : constants[ROWS]]
    banks, room = int(constants[CHANNEL_BANKS]), int(constants[ROW_ROOM])
    rows = grown[:, constants[ROWS] :].reshape(len(state), banks, 2 * room)
    rows[:, :, :room] = state[:, constants[ROWS] :].reshape(len(state), banks, room)
    return grown, wider


# No function makes an array: `_nrt=False` spares counting the references of those passed on, which
