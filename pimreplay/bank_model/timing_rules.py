"""The timing rules between commands of the bank model, stated once, as data."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.commands import COMMANDS, DATA, DATA_COMMANDS
from pimreplay.hardware.timing import Timing

LEVELS = ("channel", "pseudo_channel", "rank", "bank_group", "bank")


@dataclass(frozen=True, slots=True)
class Rule:
    """`following` may not issue within `cycles` of the `window`-th last `preceding`.

    Counted in each node of `level` on the preceding command's way down to its bank.
    """

    level: str
    preceding: str
    following: str
    cycles: int
    window: int = 1


def rules(timing: Timing) -> list[Rule]:
    """Return the timing rules between commands; docs/timing_rules.md explains each.

    Source: scale-snu/attacc_simulator @ c600051, pim_ramulator_src/HBM3-PIM.cpp.
    """
    t = timing
    found: list[Rule] = []

    def add(level: str, preceding: str, following: str, cycles: int, window: int = 1) -> None:
        for name in preceding.split():
            found.extend(Rule(level, name, f, cycles, window) for f in following.split())

    row_bus = {
        "ACT": "ACT PRE PREA PRESB REFab",
        "ACTAB": "ACT PRE PREA ACTAB REFab",
        "ACTSB": "ACT PRE PREA PRESB ACTSB REFab",
        "ACTPB": "ACT PRE PREA PREPB ACTPB REFab",
    }
    for activate, followers in row_bus.items():  # an activate takes two cycles of the row bus
        add("channel", activate, followers, 2)

    add("channel", "ACTAB", "ACTAB", t.n_rc_cycles)
    add("channel", "ACTAB", "MACAB", t.n_rcdrd_cycles)
    add("channel", "ACTAB", "PREA", t.n_ras_cycles)
    add("channel", "MACAB", "MACAB", t.n_ccdab_cycles)
    add("channel", "MACAB", "PREA", t.n_rtpl_cycles)
    add("channel", "PREA", "ACTAB", t.n_rp_cycles)

    for kind in ("SB", "PB"):
        act, mac, pre = f"ACT{kind}", f"MAC{kind}", f"PRE{kind}"
        add("bank", act, act, t.n_rc_cycles)
        add("bank", act, mac, t.n_rcdrd_cycles)
        add("bank", act, pre, t.n_ras_cycles)
        add("bank", mac, pre, t.n_rtpl_cycles)
        add("bank", pre, act, t.n_rp_cycles)
    add("channel", "MACSB", "MACSB", t.n_ccdsb_cycles)
    add("channel", "MACPB", "MACPB", t.n_bl_cycles)
    add("rank", "MACPB", "MACPB", t.n_ccds_cycles)
    add("bank_group", "MACPB", "MACPB", t.n_ccdl_cycles)

    data = " ".join(DATA_COMMANDS)
    add("pseudo_channel", data, "DATA", t.n_bl_cycles)
    add("rank", data, "DATA", t.n_ccds_cycles)
    add("bank_group", data, "DATA", t.n_ccdl_cycles)
    write_end = t.n_cwl_cycles + t.n_bl_cycles
    add("rank", "RD", "WR", t.n_cl_cycles + t.n_bl_cycles + 2 - t.n_cwl_cycles)
    add("rank", "WR", "RD", write_end + t.n_wtrs_cycles)
    add("bank_group", "WR", "RD", write_end + t.n_wtrl_cycles)

    add("rank", "ACT", "ACT", t.n_rrds_cycles)
    add("rank", "ACT", "ACT", t.n_faw_cycles, window=4)
    add("bank_group", "ACT", "ACT", t.n_rrdl_cycles)
    add("bank", "ACT", "ACT", t.n_rc_cycles)
    add("bank", "ACT", "RD", t.n_rcdrd_cycles)
    add("bank", "ACT", "WR", t.n_rcdwr_cycles)
    add("bank", "ACT", "PRE", t.n_ras_cycles)
    add("bank", "RD", "PRE", t.n_rtpl_cycles)
    add("bank", "WR", "PRE", write_end + t.n_wr_cycles)
    add("bank", "PRE", "ACT", t.n_rp_cycles)
    add("pseudo_channel", "PREA", "ACT", t.n_rp_cycles)
    add("pseudo_channel", "REFab", "ACT ACTAB ACTSB ACTPB", t.n_rfc_cycles)
    return found


@cache
def rule_table(timing: Timing) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rules as arrays: (start of each preceding command, and rows of the rules).

    The start array is (commands + 1,), the rows are (rules, 4): level, following command, cycles,
    window.
    """
    number = {name: index for index, name in enumerate(COMMANDS)} | {"DATA": DATA}
    found = sorted(
        (
            number[rule.preceding],
            LEVELS.index(rule.level),
            number[rule.following],
            rule.cycles,
            rule.window,
        )
        for rule in rules(timing)
    )
    table = np.array(found, dtype=np.int64)
    return np.searchsorted(table[:, 0], np.arange(len(COMMANDS) + 1)), table[:, 1:]
