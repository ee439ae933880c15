"""The commands of a command trace over time, to look at: `pimreplay simulate --timeline`.

The file is in the Trace Event Format of Chrome (JSON), which https://ui.perfetto.dev opens and
zooms: a process for each channel, in it a row for commands to all its banks and one for each bank.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pimreplay.bank_model.commands import COMMANDS
from pimreplay.bank_model.scheduler import Scheduler
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing
from tracegen.base.errors import UserError
from tracegen.base.folder import write_file

MOST_COMMANDS = 1_000_000
"""About 120 MB of JSON: more than anybody looks through."""
WHOLE_CHANNEL = frozenset({"PREA", "ACTAB", "MACAB", "WRGB", "MVSB", "MVGB", "SFM", "BARRIER"})
WHOLE_HALF = frozenset({"REFab"})
"""Commands to all banks of a channel, and of a pseudo-channel."""


def logging_scheduler(org: Organisation, timing: Timing, *, refresh: bool) -> Scheduler:
    """Return a scheduler that keeps what `write_timeline` draws, and one command more."""
    return Scheduler(org, timing, refresh=refresh, fold=False, log_commands=MOST_COMMANDS + 1)


def write_timeline(scheduler: Scheduler, out: Path) -> None:
    """Write what a logging scheduler issued.

    Raises:
        UserError: it issued too many commands to be looked at.
    """
    log = scheduler.log()
    if len(log) > MOST_COMMANDS:
        raise UserError(
            f"--timeline: it issues more than {MOST_COMMANDS:,} commands, more than can be looked "
            "at; cut the command trace"
        )
    events = list(_events(log.tolist(), scheduler.organisation, scheduler.timing))
    write_file(out, json.dumps({"displayTimeUnit": "ns", "traceEvents": events}) + "\n")


def duration_cycles(command: str, timing: Timing) -> int:
    """Return for how long a command is drawn: until the next of its kind may follow it."""
    if command.startswith("ACT"):
        return timing.n_rcdrd_cycles
    if command.startswith("PRE"):
        return timing.n_rp_cycles
    named = {
        "REFab": timing.n_rfc_cycles,
        "MACAB": timing.n_ccdab_cycles,
        "MACSB": timing.n_ccdsb_cycles,
    }
    return named.get(command, timing.n_bl_cycles)


def _events(log: list[list[int]], org: Organisation, timing: Timing) -> Iterator[dict[str, Any]]:
    half_banks = org.channel_banks // org.pseudo_channels
    rows: dict[tuple[int, int], str] = {}
    us = timing.t_ck_ps / 1e6
    for cycle, channel, number, bank, row in log:
        command = COMMANDS[number]
        if command in WHOLE_CHANNEL:
            place, name = 0, "all banks"
        elif command in WHOLE_HALF:
            place, name = 1 + bank // half_banks, f"all of pseudo-channel {bank // half_banks}"
        else:
            place, name = 1 + org.pseudo_channels + bank, f"bank {bank}"
        rows[channel, place] = name
        yield {
            "ph": "X",
            "name": command,
            "pid": channel,
            "tid": place,
            "ts": cycle * us,
            "dur": duration_cycles(command, timing) * us,
            "args": {"cycle": cycle} | ({"row": row} if row >= 0 else {}),
        }
    for channel in sorted({channel for channel, _ in rows}):
        yield _named("process_name", f"channel {channel}", channel, 0)
    for (channel, place), name in sorted(rows.items()):
        yield _named("thread_name", name, channel, place)
        yield {
            "ph": "M",
            "name": "thread_sort_index",
            "pid": channel,
            "tid": place,
            "args": {"sort_index": place},
        }


def _named(what: str, name: str, channel: int, place: int) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": channel, "tid": place, "args": {"name": name}}
