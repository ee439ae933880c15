"""Numbers of requests and commands; a test keeps them those of `bank_model/commands.py`."""

import numpy as np

LD, ST = range(2)
"""Numbers of the requests that go to the lists of reads and writes; all others are for PIM."""
ACT, PRE, PREA, PRESB, PREPB, RD, WR, REFAB = range(8)
ACTAB, ACTSB, ACTPB, MACAB, MACSB, MACPB = range(8, 14)
WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER = range(14, 21)
DATA = 21
COMMANDS = 21
RESOURCES = 22
FINAL = np.array(
    [RD, WR, MACAB, MACSB, MACPB, WRGB, MVSB, MVGB, SFM, SETM, SETH, BARRIER], dtype=np.int64
)
# Row bus 0, column bus 1. PRESB, PREPB and the barrier pair with no other command.
BUS = np.array([0, 0, 0, -1, -1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1], dtype=np.int64)

# What opens the row that a command needs, and what closes the one in its place.
OPENER = np.array([ACT] * MACAB + [ACTAB, ACTSB, ACTPB], dtype=np.int64)
CLOSER = np.array([PRE] * MACAB + [PREA, PRESB, PREPB], dtype=np.int64)

BRINGS = np.array([MACAB, ACTAB, PREA], dtype=np.int64)
"""What brings an all-bank MAC forward, by what it waits for: nothing, its row, another's to close.
"""
