"""The controller of HBM-PIM: which request or row command goes in a cycle."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, unused-ignore"

import numpy as np

from pimreplay.command_sets.hbm_pim.memory import (
    ACT,
    BANKS,
    CLOSED,
    MODE_COLUMN,
    PRE,
    REF,
    REGISTER_ROW,
    WR,
    issue_activate,
    issue_column,
    issue_precharge,
    issue_refresh,
)
from pimreplay.command_sets.hbm_pim.requests import BANK, BARRIER, COLUMN, RANK, ROW, WRITE
from pimreplay.compiled import kernel

QUEUE = 64
"""Requests of each of the controller's two queues."""
NEVER = 1 << 60


@kernel()
def _oldest_ready(requests, queue, waiting, memory, rank, clock):
    """Return the place in the queue of the request that goes now, or -1."""
    for place in range(waiting):
        one = requests[queue[place]]
        if place and one[BARRIER]:
            return -1
        bank = one[BANK]
        if (
            memory.open_row[rank, bank] == one[ROW]
            and clock >= memory.ready[rank, bank, one[WRITE]]
            and not _overtakes(requests, queue, place)
        ):
            return place
        if one[BARRIER]:
            return -1
    return -1


@kernel()
def _overtakes(requests, queue, place):
    """Tell whether an older request wants the same column."""
    one = requests[queue[place]]
    for before in range(place):
        other = requests[queue[before]]
        if other[BANK] == one[BANK] and other[ROW] == one[ROW] and other[COLUMN] == one[COLUMN]:
            return True
    return False


@kernel()
def _to_activate(requests, queue, waiting, memory, rank, clock):
    """Return the place of the first request whose bank can be activated, or -1."""
    for place in range(waiting):
        one = requests[queue[place]]
        if place and one[BARRIER]:
            return -1
        bank = one[BANK]
        if (
            memory.open_row[rank, bank] == CLOSED
            and clock >= memory.ready[rank, bank, ACT]
            and not (memory.together[rank] and bank >= 2)
        ):
            return place
    return -1


@kernel()
def _unwanted(requests, queue, waiting, memory, rank, bank, clock):
    """Tell whether a row can be closed that no request up to the next barrier reads or writes."""
    row = memory.open_row[rank, bank]
    if row == CLOSED or clock < memory.ready[rank, bank, PRE]:
        return False
    for place in range(waiting):
        one = requests[queue[place]]
        if one[BANK] == bank and one[ROW] == row:
            return False
        if one[BARRIER]:
            return True
    return True


@kernel()
def _to_refresh(memory, rank, clock):
    """Return what a waiting refresh issues now, and its bank: PRE, REF, or -1 for nothing yet.

    The refresh itself does not wait for the precharges to end.
    """
    closed = True
    for bank in range(BANKS):
        if memory.open_row[rank, bank] != CLOSED:
            closed = False
            if clock >= memory.ready[rank, bank, PRE]:
                return PRE, bank
    return (REF if closed else -1), 0


@kernel()
def _next_event(memory, clock, least):
    """Return the first cycle from `clock` on in which a bank becomes ready, at most `least`."""
    for cycle in memory.ready.flat:
        if clock <= cycle < least:
            least = cycle
    return least


@kernel()
def run(requests, stops, memory, refresh, gaps, issued, log):
    """Run all phases; count commands into `issued`, note them in `log` where it has room."""
    ranks = memory.open_row.shape[0]
    due = np.array([gaps.refi // ranks * (rank + 1) for rank in range(ranks)])
    queue = np.zeros((ranks, QUEUE), dtype=np.int64)
    waiting = np.zeros(ranks, dtype=np.int64)
    arrived = np.zeros(QUEUE, dtype=np.int64)  # requests that have not reached a rank's queue
    arrivals = 0
    refresh_rank, refresh_of, refreshing = 0, 0, False
    command_rank, precharge_rank, precharge_bank = 0, 0, 0  # where the last search stopped
    ends = np.zeros(stops.shape[0], dtype=np.int64)
    clock, following, logged, done, progress = 0, 0, 0, 0, 0
    patience = 2 * (gaps.refi + gaps.rfc + gaps.rc)  # far above any wait that ends
    for phase in range(stops.shape[0]):
        while arrivals < QUEUE and following < stops[phase]:
            arrived[arrivals] = following
            arrivals += 1
            following += 1
        left = stops[phase] - (stops[phase - 1] if phase else 0)
        while left or clock < done:
            moved = False
            if following < stops[phase] and arrivals < QUEUE:
                arrived[arrivals] = following
                arrivals += 1
                following += 1
                moved = True
            if refresh and clock == due[refresh_rank]:
                refreshing, refresh_of = True, refresh_rank
                due[refresh_rank] += gaps.refi
                refresh_rank = (refresh_rank + 1) % ranks

            command, rank, bank, row, column = -1, 0, 0, 0, 0
            if refreshing:
                rank = refresh_of
                command, bank = _to_refresh(memory, rank, clock)
                refreshing = command != REF
            for _ in range(ranks):
                if command >= 0:
                    break
                rank = command_rank
                own = queue[rank]
                place = _oldest_ready(requests, own, waiting[rank], memory, rank, clock)
                if place >= 0:
                    _, _, bank, row, column, data, _ = requests[own[place]]
                    command = requests[own[place], WRITE]
                    if command == WR and row == REGISTER_ROW and column == MODE_COLUMN:
                        memory.computing[rank] = data & 1 and memory.together[rank]
                    waiting[rank] -= 1
                    left -= 1
                    own[place : waiting[rank]] = own[place + 1 : waiting[rank] + 1]
                    break
                place = _to_activate(requests, own, waiting[rank], memory, rank, clock)
                if place >= 0:
                    command = ACT
                    _, _, bank, row, column, _, _ = requests[own[place]]
                    break
                command_rank = (command_rank + 1) % ranks
            for _ in range(ranks * BANKS):
                if command >= 0:
                    break
                rank, bank = precharge_rank, precharge_bank
                if _unwanted(requests, queue[rank], waiting[rank], memory, rank, bank, clock):
                    command = PRE
                    break
                precharge_rank = (precharge_rank + 1) % ranks
                if precharge_rank == 0:
                    precharge_bank = (precharge_bank + 1) % BANKS

            if command == PRE:
                row = memory.open_row[rank, bank]
                issue_precharge(memory, gaps, rank, bank, row, clock)
            elif command == ACT:
                issue_activate(memory, gaps, rank, bank, row, column, clock)
            elif command == REF:
                issue_refresh(memory, gaps, rank, clock)
            elif command >= 0:
                issue_column(memory, gaps, command, rank, bank, clock)
                done = max(done, clock + gaps.to_data[command])
                progress = clock
            if command >= 0:
                issued[command] += 1
                if logged < log.shape[0]:
                    log[logged] = (clock, command, rank, bank, row, column)
                    logged += 1

            for place in range(arrivals):
                to = requests[arrived[place], RANK]
                if waiting[to] < QUEUE:
                    queue[to, waiting[to]] = arrived[place]
                    waiting[to] += 1
                    arrivals -= 1
                    arrived[place:arrivals] = arrived[place + 1 : arrivals + 1]
                    moved = True
                    break

            clock += 1
            if command < 0 and not moved:  # nothing changes before the next of these cycles
                until = due[refresh_rank] if refresh else NEVER
                if left == 0:
                    until = min(until, done)
                clock = max(clock, _next_event(memory, clock, until))
            if left and clock - progress > patience:
                ends[phase] = -1 - queue[command_rank, 0]
                return ends
        ends[phase] = clock
    return ends
