"""SK hynix GDDR6-AiM: one MAC unit and one accumulator a bank, a global buffer a channel.

A request is decoded each cycle and goes to the channels of its mask; a channel serves its requests
in order, one command a cycle, and holds 33 of them. Registers and banks are reached in different
modes, and a change of mode takes `n_modch_cycles`. Only requests to all banks at once are known.

Source: arkhadem/aim_simulator @ 0f28a07, src/dram/impl/GDDR6.cpp (rules, command by command),
src/dram_controller/impl/AiM_dram_controller.cpp and src/memory_system/impl/aim_DRAM_system.cpp.
"""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, unused-ignore"

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.command_sets import Outcome
from pimreplay.compiled import kernel
from tracegen.base.errors import UserError, nearest

DEFAULT_TIMING = "GDDR6_AiM_as_run"
REFRESHES = False
"""The source's refresh manager asks for ranks, which this memory does not have: it never acts."""
CHANNELS = 32
ROWS = 16384
QUEUE = 33
"""Requests that a channel holds: its buffer takes one more than its size of 32."""

COMMANDS = (
    "MAC16", "AF16", "EWMUL16", "WRA16", "WRGB", "WRMAC16", "RDMAC16", "RDAF16",
    "ACT16", "PREA", "TMOD",
)  # fmt: skip
MAC, AF, EWMUL, WRA, WRGB, WRMAC, RDMAC, RDAF, ACT, PREA, TMOD = range(len(COMMANDS))
SYNC, END = len(COMMANDS), len(COMMANDS) + 1
"""Requests that wait for everything before them; `END` closes a sequence."""

_TO_BANKS = (MAC, AF, EWMUL, WRA)
"""Commands that need a row open in all banks; the others reach registers and buffers."""
_ANSWERED = (RDMAC, RDAF)
"""Commands whose result the host waits for before it sends the next request."""
_FIELDS = {
    "MAC_ABK": (MAC, ("opsize", "mask", "row")),
    "AF": (AF, ("mask",)),
    "EWMUL": (EWMUL, ("opsize", "mask", "row")),
    "WR_ABK": (WRA, ("register", "mask", "row")),
    "WR_GB": (WRGB, ("opsize", "register", "mask")),
    "WR_BIAS": (WRMAC, ("register", "mask")),
    "RD_MAC": (RDMAC, ("register", "mask")),
    "RD_AF": (RDAF, ("register", "mask")),
    "SYNC": (SYNC, ()),
    "EOC": (END, ()),
}
LUT_ROW = 1 << 29
"""Row that an activation function's table lies in."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Timings in command clocks, named as in the source."""

    t_ck_ps: int
    n_bl_cycles: int
    n_rcdrdmac_cycles: int
    n_rcdewmul_cycles: int
    n_rcdrdaf_cycles: int
    n_rcdwr_cycles: int
    n_rp_cycles: int
    n_ras_cycles: int
    n_rc_cycles: int
    n_wr_cycles: int
    n_rtp_cycles: int
    n_cwl_cycles: int
    n_ccds_cycles: int
    n_ccdl_cycles: int
    n_rrdl_cycles: int
    n_wtrs_cycles: int
    n_wtrl_cycles: int
    n_clreg_cycles: int
    n_cwlreg_cycles: int
    n_cwlgb_cycles: int
    n_wpre_cycles: int
    n_modch_cycles: int


def rules(t: Timing) -> tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]:
    """Return the rules of a channel: (commands before, commands after, least cycles between)."""
    reads, writes = (RDMAC, RDAF), (WRA, WRGB, WRMAC)
    in_groups, written_in_groups = (*reads, MAC, EWMUL), (WRA, WRMAC, EWMUL)
    turn = t.n_clreg_cycles + t.n_bl_cycles + 3 + t.n_wpre_cycles
    return (
        (reads, reads, t.n_bl_cycles),
        (writes, writes, t.n_bl_cycles),
        ((*reads, MAC), (*reads, MAC), t.n_ccds_cycles),
        (writes, writes, t.n_ccds_cycles),
        (in_groups, in_groups, t.n_ccdl_cycles),
        (written_in_groups, written_in_groups, t.n_ccdl_cycles),
        (reads, (WRA,), turn - t.n_cwl_cycles),
        (reads, (WRGB,), turn - t.n_cwlgb_cycles),
        (reads, (WRMAC,), turn - t.n_cwlreg_cycles),
        ((WRA,), reads, t.n_cwl_cycles + t.n_bl_cycles + t.n_wtrl_cycles),
        ((WRGB,), reads, t.n_cwlgb_cycles + t.n_bl_cycles + t.n_wtrs_cycles),
        ((WRMAC,), reads, t.n_cwlreg_cycles + t.n_bl_cycles + t.n_wtrl_cycles),
        ((MAC, AF, EWMUL), (PREA,), t.n_rtp_cycles),
        ((EWMUL,), (PREA,), t.n_cwl_cycles + t.n_wr_cycles),
        ((ACT,), (ACT,), max(t.n_rrdl_cycles, t.n_rc_cycles)),
        ((ACT,), (PREA,), t.n_ras_cycles),
        ((PREA,), (ACT, PREA), t.n_rp_cycles),
        ((ACT,), (MAC,), t.n_rcdrdmac_cycles),
        ((ACT,), (AF,), t.n_rcdrdaf_cycles),
        ((ACT,), (EWMUL,), t.n_rcdewmul_cycles),
        ((ACT,), (WRA,), t.n_rcdwr_cycles),
        ((WRA,), (ACT,), t.n_cwl_cycles + t.n_bl_cycles + t.n_wr_cycles + t.n_rp_cycles),
        ((TMOD,), tuple(range(TMOD)), t.n_modch_cycles),
    )


def gaps(timing: Timing) -> Any:
    """Return the least cycles from a command (first axis) to another: (commands, commands)."""
    table = np.zeros((len(COMMANDS), len(COMMANDS)), dtype=np.int64)
    for before, after, cycles in rules(timing):
        for first in before:
            for second in after:
                table[first, second] = max(table[first, second], cycles)
    return table


def done_after(timing: Timing) -> Any:
    """Return the cycles from a command's issue until it counts as done, by command."""
    t = timing
    cycles = np.ones(len(COMMANDS), dtype=np.int64)
    cycles[WRA] = t.n_cwl_cycles + t.n_bl_cycles + t.n_rp_cycles
    cycles[WRGB] = t.n_cwlgb_cycles + t.n_bl_cycles
    cycles[WRMAC] = t.n_cwlreg_cycles + t.n_bl_cycles
    cycles[[RDMAC, RDAF]] = t.n_clreg_cycles + t.n_bl_cycles
    return cycles


def read_requests(path: Path) -> Any:
    """Read a request file: (requests, 4) of command, repeats, row, channel mask.

    A line is `AiM` and a request as the source's traces have it, for example
    `AiM MAC_ABK 8 1 0` (opsize, channel mask, row); the last one is `AiM EOC`.

    Raises:
        UserError: the file cannot be read, or a line is not such a request.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; give a text file of requests") from None
    requests = [
        parse_request(f"{path}, line {number}", line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not requests or requests[-1][0] != END or any(one[0] == END for one in requests[:-1]):
        raise UserError(f"{path}: must end with the one request `AiM EOC`; add it as last line")
    return np.array(requests, dtype=np.int64)


def parse_request(where: str, line: str) -> tuple[int, int, int, int]:
    """Return a line's command, repeats, row and channel mask."""
    words = line.split()
    if len(words) < 2 or words[0] != "AiM":
        raise UserError(f"{where}: {line!r} is not a request; it starts with `AiM` and its name")
    if words[1] not in _FIELDS:
        raise UserError(f"{where}: request {words[1]!r} is unknown; {nearest(words[1], _FIELDS)}")
    command, names = _FIELDS[words[1]]
    if len(words) - 2 != len(names):
        shape = " ".join(("AiM", words[1], *names))
        raise UserError(f"{where}: {line!r} has {len(words) - 2} numbers; write `{shape}`")
    values = {"opsize": 1, "row": 0, "mask": 1}
    for name, word in zip(names, words[2:], strict=True):
        try:
            values[name] = int(word, 0)
        except ValueError:
            raise UserError(f"{where}: {name} {word!r} is not a whole number") from None
    if values["opsize"] < 1:
        raise UserError(f"{where}: opsize {values['opsize']} must be at least 1")
    if not 0 <= values["row"] < ROWS:
        raise UserError(f"{where}: row {values['row']} must be at least 0 and below {ROWS}")
    if not 0 < values["mask"] < 1 << CHANNELS:
        raise UserError(
            f"{where}: channel mask {values['mask']} must name 1 to {CHANNELS} channels"
        )
    row = LUT_ROW if command == AF else values["row"]
    return command, values["opsize"], row, values["mask"]


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
    to_banks = np.isin(np.arange(len(COMMANDS)), _TO_BANKS)
    answered = np.isin(np.arange(len(COMMANDS)), _ANSWERED)
    cycles = _fold(requests, gaps(timing), done_after(timing), to_banks, answered, issued, log)
    return int(cycles), issued


@kernel()
def _fold(requests, gap, latency, to_banks, answered, issued, log):
    """Issue every request in order; return the last cycle.

    Commands are counted into `issued` and noted in `log` where it has room.
    """
    commands = gap.shape[0]
    never = -(1 << 40)
    last = np.full(
        (CHANNELS, commands), never, dtype=np.int64
    )  # cycle of each command's last issue
    open_row = np.full(CHANNELS, -1, dtype=np.int64)
    in_registers = np.zeros(CHANNELS, dtype=np.bool_)
    busy = np.zeros(CHANNELS, dtype=np.int64)  # cycle of the last command
    done = np.zeros(CHANNELS, dtype=np.int64)  # when everything but answers is done
    left = np.zeros((CHANNELS, QUEUE), dtype=np.int64)  # when the last requests left the queue
    sent = np.zeros(CHANNELS, dtype=np.int64)
    decode, logged = 1, 0
    for request in range(requests.shape[0]):
        command, repeats, row, mask = requests[request]
        until = decode
        if command >= commands:  # SYNC or END: to every channel, answered by all
            for channel in range(CHANNELS):
                enter = max(decode, left[channel, sent[channel] % QUEUE] + 1)
                at = max(enter, busy[channel] + 1)
                busy[channel] = at
                left[channel, sent[channel] % QUEUE] = at
                sent[channel] += 1
                until = max(until, max(at, done[channel]) + 1)
            decode = until + 1
            continue
        for _ in range(repeats):
            for channel in range(CHANNELS):
                if not mask >> channel & 1:
                    continue
                slot = sent[channel] % QUEUE
                enter = max(decode, left[channel, slot] + 1)
                at = max(enter, busy[channel] + 1)
                until = max(until, enter)
                while True:
                    need = command
                    if to_banks[command] and open_row[channel] != row:
                        need = ACT if open_row[channel] < 0 else PREA
                    for before in range(commands):
                        at = max(at, last[channel, before] + gap[before, need])
                    if in_registers[channel] == to_banks[command]:
                        in_registers[channel] = not to_banks[command]
                        need = TMOD
                    last[channel, need] = at
                    issued[need] += 1
                    if logged < log.shape[0]:
                        log[logged] = (at, channel, need, row)
                        logged += 1
                    if need == ACT:
                        open_row[channel] = row
                    elif need == PREA or need == WRA:
                        open_row[channel] = -1
                    if need == command:
                        break
                    at += 1
                busy[channel] = at
                left[channel, slot] = at
                sent[channel] += 1
                if answered[command]:
                    until = max(until, at + latency[command])
                else:
                    done[channel] = max(done[channel], at + latency[command])
        decode = until + 1
    return until
