"""Commands of GDDR6-AiM, and the least cycles between them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

COMMANDS = (
    "MAC16", "AF16", "EWMUL16", "WRA16", "WRGB", "WRMAC16", "RDMAC16", "RDAF16",
    "ACT16", "PREA", "TMOD",
)  # fmt: skip
MAC, AF, EWMUL, WRA, WRGB, WRMAC, RDMAC, RDAF, ACT, PREA, TMOD = range(len(COMMANDS))
SYNC, END = len(COMMANDS), len(COMMANDS) + 1
"""Requests that wait for everything before them; `END` closes a sequence."""

TO_BANKS = (MAC, AF, EWMUL, WRA)
"""Commands that need a row open in all banks; the others reach registers and buffers."""
ANSWERED = (RDMAC, RDAF)
"""Commands whose result the host waits for before it sends the next request."""


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
