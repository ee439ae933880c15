"""The timings that decide every cycle count, and what makes a table of them wrong."""

from dataclasses import dataclass, fields
from typing import Any

from pimreplay.hardware.numbers import is_time, is_whole
from pimreplay.units import clock_period_ps, ns_to_cycles
from tracegen.base.errors import nearest


@dataclass(frozen=True, slots=True)
class Timing:
    """Timings of one device, whole command clocks; the names follow JEDEC's, `n_` for cycles.

    `n_ccdab` and `n_ccdsb` separate MACs on all banks of a channel and on the same bank of each
    bank group; every other name is the DRAM one (see docs/timing_rules.md).
    """

    data_rate_mbps: int
    n_bl_cycles: int
    n_cl_cycles: int
    n_rcdrd_cycles: int
    n_rcdwr_cycles: int
    n_rp_cycles: int
    n_ras_cycles: int
    n_rc_cycles: int
    n_wr_cycles: int
    n_rtps_cycles: int
    n_rtpl_cycles: int
    n_cwl_cycles: int
    n_ccds_cycles: int
    n_ccdl_cycles: int
    n_ccdab_cycles: int
    n_ccdsb_cycles: int
    n_rrds_cycles: int
    n_rrdl_cycles: int
    n_wtrs_cycles: int
    n_wtrl_cycles: int
    n_rtw_cycles: int
    n_faw_cycles: int
    n_rfcsb_cycles: int
    n_refi_cycles: int
    n_rrefd_cycles: int
    n_rfc_cycles: int
    t_ck_ps: int


_RATES_MBPS = range(4, 4_000_001)
"""Data rates that give a clock of whole picoseconds."""
MOST_CYCLES = 100_000
"""No timing of a DRAM comes near; tREFI, the longest, is some thousands of cycles."""


def timing_problems(values: dict[str, Any], t_rfc_ns: object = None) -> list[str]:
    """Return everything wrong with a timing table, one sentence each, empty when sound."""
    problems = []
    expected = [f.name for f in fields(Timing)]
    derived = {"n_rfc_cycles", "t_ck_ps"}
    sound: dict[str, int] = {}
    for name in expected:
        if name not in values:
            if name not in derived:
                problems.append(f"[timing] {name} is missing; state it in cycles")
        elif not is_whole(values[name]):
            problems.append(
                f"[timing] {name} = {values[name]!r} is not a whole number; give whole cycles"
            )
        elif values[name] <= 0:
            problems.append(f"[timing] {name} = {values[name]} must be above 0; correct it")
        elif name.endswith("_cycles") and values[name] > MOST_CYCLES:
            problems.append(
                f"[timing] {name} = {values[name]} is above {MOST_CYCLES:,} cycles, which no DRAM "
                "comes near; correct it"
            )
        else:
            sound[name] = values[name]
    problems.extend(
        f"[timing] {name} is not a timing; {nearest(name, expected)}"
        for name in values
        if name not in expected
    )
    if "n_rfc_cycles" not in values and t_rfc_ns is None:
        problems.append("[timing] n_rfc_cycles is missing and the organisation has no t_rfc_ns")
    if is_time(t_rfc_ns) and sound.get("data_rate_mbps") in _RATES_MBPS:
        sound = _with_derived(sound, t_rfc_ns)
    return problems + _contradictions(sound)


def _contradictions(v: dict[str, int]) -> list[str]:
    """Return what is wrong between timings, as far as the values concerned are given and whole."""
    problems = []
    if "data_rate_mbps" in v and v["data_rate_mbps"] not in _RATES_MBPS:
        problems.append(
            f"[timing] data_rate_mbps = {v['data_rate_mbps']} gives no clock; 4 to 4,000,000"
        )
    elif {"data_rate_mbps", "t_ck_ps"} <= v.keys():
        period_ps = clock_period_ps(v["data_rate_mbps"])
        if abs(v["t_ck_ps"] - period_ps) > 1:
            problems.append(
                f"[timing] t_ck_ps = {v['t_ck_ps']}, but data_rate_mbps = {v['data_rate_mbps']} "
                f"gives {period_ps}; correct one or leave t_ck_ps out"
            )
    # Rounding tRAS, tRP and tRC up one by one can leave tRC a cycle below the sum.
    if {"n_rc_cycles", "n_ras_cycles", "n_rp_cycles"} <= v.keys():
        need = v["n_ras_cycles"] + v["n_rp_cycles"]
        if v["n_rc_cycles"] < need - 1:
            problems.append(
                f"[timing] n_rc_cycles = {v['n_rc_cycles']} is less than n_ras_cycles + "
                f"n_rp_cycles = {need} by more than the one cycle that rounding can cause; "
                "correct one of the three"
            )
    for low, high in (
        ("n_ccds_cycles", "n_ccdl_cycles"),
        ("n_rrds_cycles", "n_rrdl_cycles"),
        ("n_wtrs_cycles", "n_wtrl_cycles"),
        ("n_rtps_cycles", "n_rtpl_cycles"),
        ("n_rrds_cycles", "n_faw_cycles"),
    ):
        if {low, high} <= v.keys() and v[low] > v[high]:
            problems.append(
                f"[timing] {low} = {v[low]} is above {high} = {v[high]}; it must not be"
            )
    if {"n_rfc_cycles", "n_rcdrd_cycles", "n_refi_cycles"} <= v.keys():
        busy = v["n_rfc_cycles"] + 1 + v["n_rcdrd_cycles"]
        if busy >= v["n_refi_cycles"]:
            problems.append(
                f"[timing] n_refi_cycles = {v['n_refi_cycles']} is not above n_rfc_cycles + 1 + "
                f"n_rcdrd_cycles = {busy}: the device would do nothing but refresh"
            )
    return problems


def build_timing(values: dict[str, Any], t_rfc_ns: float) -> Timing:
    """Build a `Timing` from a sound table, deriving the clock period and the refresh time."""
    return Timing(**_with_derived(values, t_rfc_ns))


def _with_derived(values: dict[str, int], t_rfc_ns: float) -> dict[str, int]:
    t_ck_ps = values.get("t_ck_ps") or clock_period_ps(values["data_rate_mbps"])
    n_rfc = values.get("n_rfc_cycles") or ns_to_cycles(t_rfc_ns, t_ck_ps)
    return {**values, "t_ck_ps": t_ck_ps, "n_rfc_cycles": n_rfc}
