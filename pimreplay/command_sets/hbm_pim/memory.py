"""A pseudo-channel of HBM-PIM: its banks, the modes they are in, and what a command changes."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, unused-ignore"

from typing import Any, NamedTuple

import numpy as np

from pimreplay.compiled import kernel

BANKS = 16
GROUP_BANKS = 4
ROWS = 16384
COLUMNS = 32

ENTER_ROW, LEAVE_ROW, REGISTER_ROW = 0x17FF, 0x1FFF, 0x3FFF
"""Reserved rows: activated, all banks work alike; precharged, banks work alone again; registers."""
BANKS_OF_MODE_CHANGE = (0, 1, 8, 9)
"""Banks whose ENTER_ROW must be activated."""
PARK_ROW = 0x1000
"""Row that the library opens in every bank before and after all-bank mode."""
MODE_COLUMN, SCALARS, PROGRAM, GRF_A, GRF_B = 0, 1, 4, 8, 24
"""Columns of the register row."""

COMMANDS = ("RD", "WR", "ACT", "PRE", "REF")
RD, WR, ACT, PRE, REF = range(len(COMMANDS))


class Memory(NamedTuple):
    """State of the banks of a pseudo-channel, one entry a rank."""

    open_row: Any
    """(ranks, banks); `CLOSED` where none is open."""
    ready: Any
    """(ranks, banks, 4): first cycle of RD, WR, ACT and PRE."""
    together: Any
    """All-bank mode."""
    computing: Any
    """Units execute their program, in all-bank mode."""
    entering: Any
    """Bits of the banks whose ENTER_ROW has been activated."""
    leaving: Any
    """Bits of the banks whose LEAVE_ROW has been precharged."""


CLOSED = -1


def closed_memory(ranks: int) -> Memory:
    """Return the state before the first command."""
    return Memory(
        open_row=np.full((ranks, BANKS), CLOSED),
        ready=np.zeros((ranks, BANKS, 4), dtype=np.int64),
        together=np.zeros(ranks, dtype=np.bool_),
        computing=np.zeros(ranks, dtype=np.bool_),
        entering=np.zeros(ranks, dtype=np.int64),
        leaving=np.zeros(ranks, dtype=np.int64),
    )


@kernel()
def issue_column(memory, gaps, command, rank, bank, clock):
    """Read or write a column: note from when on other commands can go."""
    ready = memory.ready
    ready[rank, bank, PRE] = max(ready[rank, bank, PRE], clock + gaps.to_precharge[command])
    for other in range(ready.shape[0]):
        for one in range(BANKS):
            if other != rank and memory.open_row[other, one] == CLOSED:
                continue
            same_group = other == rank and one // GROUP_BANKS == bank // GROUP_BANKS
            for kind in (RD, WR):
                gap = gaps.column[int(other != rank), command, kind]
                if kind == command and same_group:
                    gap = gaps.ccdl
                ready[other, one, kind] = max(ready[other, one, kind], clock + gap)


@kernel()
def issue_activate(memory, gaps, rank, bank, row, column, clock):
    """Open a row; the fourth of the banks that change the mode makes all banks work alike."""
    ready = memory.ready
    memory.open_row[rank, bank] = row
    ready[rank, bank, ACT] = max(ready[rank, bank, ACT], clock + gaps.rc)
    ready[rank, bank, PRE] = max(ready[rank, bank, PRE], clock + gaps.ras)
    for kind in (RD, WR):
        ready[rank, bank, kind] = max(ready[rank, bank, kind], clock + gaps.from_activate[kind])
    for one in range(BANKS):
        if one != bank:
            gap = gaps.rrdl if one // GROUP_BANKS == bank // GROUP_BANKS else gaps.rrds
            ready[rank, one, ACT] = max(ready[rank, one, ACT], clock + gap)
    if row == ENTER_ROW and column == COLUMNS - 1 and not memory.together[rank]:
        for bit in range(4):
            if bank == BANKS_OF_MODE_CHANGE[bit]:
                memory.entering[rank] |= 1 << bit
        if memory.entering[rank] == 0b1111:
            memory.entering[rank] = 0
            memory.together[rank] = True


@kernel()
def issue_precharge(memory, gaps, rank, bank, row, clock):
    """Close a row; the second of the banks that leave all-bank mode ends it."""
    memory.open_row[rank, bank] = CLOSED
    memory.ready[rank, bank, ACT] = max(memory.ready[rank, bank, ACT], clock + gaps.rp)
    if row == LEAVE_ROW and bank < 2 and memory.together[rank] and not memory.computing[rank]:
        memory.leaving[rank] |= 1 << bank
        if memory.leaving[rank] == 0b11:
            memory.leaving[rank] = 0
            memory.together[rank] = False


@kernel()
def issue_refresh(memory, gaps, rank, clock):
    """Refresh all banks of a rank."""
    for bank in range(BANKS):
        memory.ready[rank, bank, ACT] = clock + gaps.rfc
