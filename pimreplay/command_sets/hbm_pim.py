"""Samsung HBM-PIM: reads and writes whose meaning depends on the mode that a pseudo-channel is in.

Eight units, one for two banks, compute when a column is read (a MAC) in all-bank mode; modes and
registers are reached by ordinary requests to reserved rows. The controller keeps a queue of 64
requests a rank, fed from another of 64, and issues one command a cycle: a refresh that is due, else
the oldest request that may go, else an activate, else a precharge of a row that no request up to
the next barrier wants. A request that carries a barrier goes only as the oldest, and no request
behind it goes before.

Source: behaviour of SAITPublic/PIMSimulator @ b464dde, system_hbm_1ch.ini, as measured; the code
here is our own. `docs/devices.md` lists the rules.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, unused-ignore"

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pimreplay.command_sets import Outcome
from pimreplay.compiled import kernel
from tracegen.base.errors import UserError

DEFAULT_TIMING = "HBM2_PIM_2Gbps"
REFRESHES = True
BANKS = 16
GROUP_BANKS = 4
ROWS = 16384
COLUMNS = 32
QUEUE = 64
"""Requests of each of the controller's two queues."""

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
WRITE, RANK, BANK, ROW, COLUMN, DATA, BARRIER = range(7)
"""Columns of a table of requests."""
NEVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Timing:
    """Timings in command clocks; `n_bl_cycles` is half the burst length."""

    t_ck_ps: int
    n_bl_cycles: int
    n_rl_cycles: int
    n_wl_cycles: int
    n_ccds_cycles: int
    n_ccdl_cycles: int
    n_rcdrd_cycles: int
    n_rcdwr_cycles: int
    n_ras_cycles: int
    n_rc_cycles: int
    n_rp_cycles: int
    n_rrds_cycles: int
    n_rrdl_cycles: int
    n_rtpl_cycles: int
    n_wr_cycles: int
    n_wtrl_cycles: int
    n_rtrs_cycles: int
    n_refi_cycles: int
    n_rfc_cycles: int

    @property
    def read_to_precharge(self) -> int:
        """Cycles from a read to a precharge of its bank."""
        return self.n_bl_cycles + max(self.n_rtpl_cycles - self.n_ccdl_cycles, 0)

    @property
    def write_to_precharge(self) -> int:
        """Cycles from a write to a precharge of its bank."""
        return self.n_wl_cycles + self.n_bl_cycles + self.n_wr_cycles

    @property
    def read_to_write(self) -> int:
        """Cycles from a read to a write in any bank."""
        return self.n_rl_cycles + self.n_bl_cycles + self.n_rtrs_cycles - self.n_wl_cycles

    @property
    def write_to_read(self) -> int:
        """Cycles from a write to a read in any bank of the rank."""
        return self.n_wl_cycles + self.n_bl_cycles + self.n_wtrl_cycles

    @property
    def write_to_read_of_other_rank(self) -> int:
        """Cycles from a write to a read of another rank."""
        return max(self.n_wl_cycles + self.n_bl_cycles + self.n_rtrs_cycles - self.n_rl_cycles, 0)

    @property
    def read_to_data(self) -> int:
        """Cycles from a read's issue until the host has the data."""
        return self.n_rl_cycles + self.n_bl_cycles + 2

    @property
    def write_to_data(self) -> int:
        """Cycles from a write's issue until the memory has the data."""
        return self.n_wl_cycles + self.n_bl_cycles + 1


def read_requests(path: Path) -> Any:
    """Read a request file: (requests, 7), see the names of the columns above.

    A line is `R` or `W`, bank, row, column and, for a write, the first byte of its data; or `B`, a
    barrier behind the request before it.

    Raises:
        UserError: the file cannot be read, or a line is not such a request.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; give a text file of requests") from None
    return parse_requests(str(path), lines)


def parse_requests(where: str, lines: list[str]) -> Any:
    """Return the table of the requests in `lines`."""
    requests: list[list[int]] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if words == ["B"]:
            if requests:  # a barrier before everything holds nothing back
                requests[-1][BARRIER] = 1
            continue
        if words[0] not in ("R", "W") or len(words) not in (4, 5):
            raise UserError(
                f"{where}, line {number}: {line!r} is not a request; "
                "write `R BANK ROW COLUMN`, `W BANK ROW COLUMN [FIRST_BYTE]` or `B`"
            )
        try:
            bank, row, column, *data = (int(word, 0) for word in words[1:])
        except ValueError:
            raise UserError(
                f"{where}, line {number}: {line!r}: bank, row and column are whole numbers"
            ) from None
        for name, value, limit in (
            ("bank", bank, BANKS),
            ("row", row, ROWS),
            ("column", column, COLUMNS),
        ):
            if not 0 <= value < limit:
                raise UserError(
                    f"{where}, line {number}: {name} {value} must be at least 0 and below {limit}"
                )
        requests.append([int(words[0] == "W"), 0, bank, row, column, data[0] if data else 0, 0])
    if not requests:
        raise UserError(f"{where}: has no requests; write one a line")
    return np.array(requests, dtype=np.int64)


def simulate(requests: Any, timing: Timing, *, ranks: int = 1, refresh: bool = True) -> Outcome:
    """Return cycles and commands of the requests (requests, 7) of one pseudo-channel."""
    ends, issued = phases(requests, [len(requests)], timing, ranks=ranks, refresh=refresh)
    counts = zip(COMMANDS, issued.tolist(), strict=True)
    return Outcome(int(ends[-1]), {name: count for name, count in counts if count})


def phases(
    requests: Any, stops: Any, timing: Timing, *, ranks: int = 1, refresh: bool = True
) -> tuple[Any, Any]:
    """Return the cycle in which each phase ends (phases,) and the commands issued (commands,).

    A phase is the requests up to its entry of `stops`; it starts when the one before has ended.

    Raises:
        UserError: a request waits for ever.
    """
    issued = np.zeros(len(COMMANDS), dtype=np.int64)
    stops = np.asarray(stops, dtype=np.int64)
    log = np.zeros((0, 6), dtype=np.int64)
    ends = _run(requests, stops, _closed_memory(ranks), refresh, _gaps(timing), issued, log)
    if ends.min(initial=0) < 0:
        number = -1 - int(ends.min())
        raise UserError(
            f"request {number + 1}, to bank {requests[number, BANK]}, never starts: in all-bank "
            "mode only banks 0 and 1 are opened; leave that mode first"
        )
    return ends, issued


def commands_of(requests: Any, timing: Timing, *, ranks: int = 1, refresh: bool = True) -> Any:
    """Return every command: (commands, 6) of cycle, command, rank, bank, row, column."""
    stops = np.array([len(requests)], dtype=np.int64)
    _, issued = phases(requests, stops, timing, ranks=ranks, refresh=refresh)
    log = np.zeros((int(issued.sum()), 6), dtype=np.int64)
    issued[:] = 0
    _run(requests, stops, _closed_memory(ranks), refresh, _gaps(timing), issued, log)
    return log


class _Gaps(NamedTuple):
    """Cycles between commands, as the kernel takes them."""

    column: Any
    """[of another rank, write before, write after] between columns of different bank groups."""
    ccdl: int
    to_precharge: Any
    """[write] from a column command to a precharge of its bank."""
    from_activate: Any
    """[write] from an activate to a column command of its bank."""
    to_data: Any
    """[write] from a column command until its data is through."""
    ras: int
    rc: int
    rp: int
    rrds: int
    rrdl: int
    refi: int
    rfc: int


def _gaps(t: Timing) -> _Gaps:
    other = t.n_bl_cycles + t.n_rtrs_cycles
    near = [[t.n_ccds_cycles, t.read_to_write], [t.write_to_read, t.n_ccds_cycles]]
    far = [[other, t.read_to_write], [t.write_to_read_of_other_rank, other]]
    return _Gaps(
        column=np.array([near, far]),
        ccdl=t.n_ccdl_cycles,
        to_precharge=np.array([t.read_to_precharge, t.write_to_precharge]),
        from_activate=np.array([t.n_rcdrd_cycles, t.n_rcdwr_cycles]),
        to_data=np.array([t.read_to_data, t.write_to_data]),
        ras=t.n_ras_cycles,
        rc=t.n_rc_cycles,
        rp=t.n_rp_cycles,
        rrds=t.n_rrds_cycles,
        rrdl=t.n_rrdl_cycles,
        refi=t.n_refi_cycles,
        rfc=t.n_rfc_cycles,
    )


class _Memory(NamedTuple):
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


def _closed_memory(ranks: int) -> _Memory:
    return _Memory(
        open_row=np.full((ranks, BANKS), CLOSED),
        ready=np.zeros((ranks, BANKS, 4), dtype=np.int64),
        together=np.zeros(ranks, dtype=np.bool_),
        computing=np.zeros(ranks, dtype=np.bool_),
        entering=np.zeros(ranks, dtype=np.int64),
        leaving=np.zeros(ranks, dtype=np.int64),
    )


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
def _issue_column(memory, gaps, command, rank, bank, clock):
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
def _issue_activate(memory, gaps, rank, bank, row, column, clock):
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
def _issue_precharge(memory, gaps, rank, bank, row, clock):
    memory.open_row[rank, bank] = CLOSED
    memory.ready[rank, bank, ACT] = max(memory.ready[rank, bank, ACT], clock + gaps.rp)
    if row == LEAVE_ROW and bank < 2 and memory.together[rank] and not memory.computing[rank]:
        memory.leaving[rank] |= 1 << bank
        if memory.leaving[rank] == 0b11:
            memory.leaving[rank] = 0
            memory.together[rank] = False


@kernel()
def _issue_refresh(memory, gaps, rank, clock):
    for bank in range(BANKS):
        memory.ready[rank, bank, ACT] = clock + gaps.rfc


@kernel()
def _next_event(memory, clock, least):
    """Return the first cycle from `clock` on in which a bank becomes ready, at most `least`."""
    for cycle in memory.ready.flat:
        if clock <= cycle < least:
            least = cycle
    return least


@kernel()
def _run(requests, stops, memory, refresh, gaps, issued, log):
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
                _issue_precharge(memory, gaps, rank, bank, row, clock)
            elif command == ACT:
                _issue_activate(memory, gaps, rank, bank, row, column, clock)
            elif command == REF:
                _issue_refresh(memory, gaps, rank, clock)
            elif command >= 0:
                _issue_column(memory, gaps, command, rank, bank, clock)
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
