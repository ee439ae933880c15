"""What a walk is told of a device and a step, and what it finds; nothing is compiled here."""

FIELDS = 9
BLOCKS, KEY_ROWS, VALUE_ROWS, KEY_END, VALUE_BEGIN, VALUE_END, END = range(7)
"""Of a point: blocks read; rows opened for keys, for values; cycles of the last key's MAC, the
first and the last value's MAC, and the last move."""
KEY_OPEN, VALUE_OPEN = range(7, 9)
"""Below bank level: rows that are open for a MAC and those behind it, summed over the MACs."""

(
    SPACING,  # MAC to MAC
    BUS,  # move to move: to other bank groups, and to the same one
    SAME,
    SCORE_PACE,  # move to move, as moves of scores and of sums go round the bank groups
    CONTEXT_PACE,
    RTPL,  # MAC to precharge
    RP,  # precharge to activate
    RCD,  # activate to MAC
    RAS,  # activate to precharge
    RC,  # activate to activate
    REFI,  # bank level: from refresh to refresh, and refresh to activate
    RFC,
    WRITES,  # of queries, all to one bank group
    QUERIES,
    SCORE_MOVES,  # moves after 16 blocks, a slice of values, all query heads together
    CONTEXT_MOVES,
    TARGETS,  # GEMV buffers times query heads
    KEY_COLUMNS,
    KEY_ROW,  # blocks of a row
    VALUE_ROW,
    SLICES,
    KEY_BANKS,  # sets of banks that rows go round
    VALUE_BANKS,
    VALUE_FIRST,  # first row of values, and rows from slice to slice
    SLICE_ROWS,
    BANK_GROUPS,  # buffer level: bank groups of a rank and of all ranks; else 0
    PLACES,
    COLUMNS,  # of a row
    WORDS,  # elements of a column
) = range(29)
PARAMETERS = 29

BLOCKS_PER_MOVE = 16
"""Blocks scored between two moves of scores to the softmax buffer, each behind a barrier (AttAcc's
trace generator)."""
NEVER = 1 << 60
