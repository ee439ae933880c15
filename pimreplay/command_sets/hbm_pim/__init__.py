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

from typing import Any

import numpy as np

from pimreplay.command_sets import Outcome
from pimreplay.command_sets.hbm_pim.controller import run
from pimreplay.command_sets.hbm_pim.memory import COMMANDS, closed_memory
from pimreplay.command_sets.hbm_pim.requests import BANK, parse_requests, read_requests
from pimreplay.command_sets.hbm_pim.timing import Timing, gaps_of
from tracegen.base.errors import UserError

DEFAULT_TIMING = "HBM2_PIM_2Gbps"
REFRESHES = True

__all__ = [
    "COMMANDS",
    "DEFAULT_TIMING",
    "REFRESHES",
    "Timing",
    "commands_of",
    "parse_requests",
    "phases",
    "read_requests",
    "simulate",
]


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
    ends = run(requests, stops, closed_memory(ranks), refresh, gaps_of(timing), issued, log)
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
    run(requests, stops, closed_memory(ranks), refresh, gaps_of(timing), issued, log)
    return log
