"""SK hynix GDDR6-AiM: one MAC unit and one accumulator a bank, a global buffer a channel.

A request is decoded each cycle and goes to the channels of its mask; a channel serves its requests
in order, one command a cycle, and holds 33 of them. Registers and banks are reached in different
modes, and a change of mode takes `n_modch_cycles`. Only requests to all banks at once are known.

Source: arkhadem/aim_simulator @ 0f28a07, src/dram/impl/GDDR6.cpp (rules, command by command),
src/dram_controller/impl/AiM_dram_controller.cpp and src/memory_system/impl/aim_DRAM_system.cpp.
"""

from typing import Any

import numpy as np

from pimreplay.command_sets import Outcome
from pimreplay.command_sets.aim.commands import (
    ANSWERED,
    COMMANDS,
    TO_BANKS,
    Timing,
    done_after,
    gaps,
)
from pimreplay.command_sets.aim.controller import issue
from pimreplay.command_sets.aim.requests import read_requests

DEFAULT_TIMING = "GDDR6_AiM_as_run"
REFRESHES = False
"""The source's refresh manager asks for ranks, which this memory does not have: it never acts."""

__all__ = [
    "COMMANDS",
    "DEFAULT_TIMING",
    "REFRESHES",
    "Timing",
    "commands_of",
    "read_requests",
    "simulate",
]


def simulate(requests: Any, timing: Timing) -> Outcome:
    """Return cycles and commands of a sequence of requests (requests, 4), ended by `END`."""
    cycles, issued = _issue(requests, timing, np.zeros((0, 4), dtype=np.int64))
    counts = zip(COMMANDS, issued.tolist(), strict=True)
    return Outcome(cycles, {name: count for name, count in counts if count})


def commands_of(requests: Any, timing: Timing) -> Any:
    """Return every command: (commands, 4) of cycle, channel, command, row."""
    _, issued = _issue(requests, timing, np.zeros((0, 4), dtype=np.int64))
    log = np.zeros((int(issued.sum()), 4), dtype=np.int64)
    _issue(requests, timing, log)
    return log


def _issue(requests: Any, timing: Timing, log: Any) -> tuple[int, Any]:
    issued = np.zeros(len(COMMANDS), dtype=np.int64)
    to_banks = np.isin(np.arange(len(COMMANDS)), TO_BANKS)
    answered = np.isin(np.arange(len(COMMANDS)), ANSWERED)
    cycles = issue(requests, gaps(timing), done_after(timing), to_banks, answered, issued, log)
    return int(cycles), issued
