"""What one row of `state` holds of a class of channels, and where."""

import numpy as np

from pimreplay.bank_model.kernel.commands import COMMANDS
from pimreplay.bank_model.limits import QUEUE_ENTRIES

LEVELS = 5
"""Of a bank's path: channel, pseudo-channel, rank, bank group, bank."""
RANK = LEVELS
"""Column of a bank's path that holds its rank's number."""
NEVER = np.int64(1) << 60
POSITIONS = 60
"""Bits of a queue mask; entries are packed anew when ages have run past it."""
WORD = 32
"""Banks of one word of a mask over banks."""
ALL_CLOSED, MIXED = -1, -2
"""Of ALL_ROW, where banks have not one row open, all the same."""

# scalars of a class
(
    VERSION,  # counts changes of open rows
    ALL_ROW,  # the row open in all banks alike, or ALL_CLOSED, or MIXED
    OPEN_BANKS,
    MOST_ROWS,  # the most rows that one bank has had open
    REFRESH_IN,  # refresh requests that arrived, and that were served
    REFRESH_OUT,
    NEXT_REFRESH,
    WRITE_MODE,
    IN_PIM,  # the last choice fell on the PIM queue: its requests do not move when they open rows
    LAST_POP,  # cycle at which the last read data leaves
    LAST_TICK,
    LAST_REMOVAL,  # cycle at which a request was last received or finished
    CHANGED,  # a queue of reads or writes changed, or a barrier went: look again next cycle
    AGE,  # position of the next PIM request
    COUNT,  # requests in the PIM queue
    LIVE,  # masks of PIM positions: all, barriers, those that wait for no timing
    BARRIERS,
    FREE,
    MACS_ALL,  # MACs on all, same and single banks
    MACS_SAME,
    MACS_SINGLE,
    HITS,  # MACs whose row is open, closed, and in whose place another is open: as BRINGS
    TO_OPEN,
    TO_CLOSE,
    LISTED,  # length of each list: reads, writes, half-served requests
) = range(25)
READS, WRITES, ACTIVE = np.arange(3)  # typed, so that no function is compiled once for each
ISSUED = LISTED + 3  # commands issued, by number
KIND = ISSUED + COMMANDS + 1  # final command, bank and row of each PIM position
BANK_OF = KIND + POSITIONS
ROW_OF = BANK_OF + POSITIONS
MAC_WORDS = ROW_OF + POSITIONS  # which banks have MACs of each kind, and which have moves
# lists of reads, writes and half-served requests: order, fields of each slot
L_FINAL, L_BANK, L_ROW, L_ADDRESS, L_ARRIVE, L_NEXT, L_SEEN = range(7)
FIELDS = 7
LIST = QUEUE_ENTRIES + QUEUE_ENTRIES * FIELDS
