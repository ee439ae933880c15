"""Timings and organisations of PIM devices: the numbers that decide every cycle count.

Presets are data: `presets/*.toml`. A path to a file with a `[timing]` table (and, for
organisations, an `[organisation]` table) works wherever a preset name does.
"""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from pimreplay.units import clock_period_ps, ns_to_cycles
from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True)
class Timing:
    """Timings of one device, whole command clocks; the names follow JEDEC's, `n_` for cycles.

    `n_ccdab` and `n_ccdsb` separate MACs on all banks of a channel and on the same bank of each
    bank group; every other name is the DRAM one (see docs/timing_model.md).
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


@dataclass(frozen=True, slots=True)
class Organisation:
    """How many of everything a stack has; capacities in bytes follow."""

    channels: int
    pseudo_channels: int
    ranks: int
    bank_groups: int
    banks: int
    rows: int
    columns: int
    access_bytes: int
    channel_density_mbit: int
    t_rfc_ns: float

    @property
    def lanes(self) -> int:
        """Bank groups of a channel: how many tokens one all-bank access reads."""
        return self.pseudo_channels * self.ranks * self.bank_groups

    @property
    def channel_banks(self) -> int:
        """Banks of a channel."""
        return self.lanes * self.banks

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of one bank."""
        return self.columns * self.access_bytes

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the stack."""
        return self.channels * self.channel_banks * self.rows * self.row_bytes


_RATES_MBPS = range(4, 4_000_001)
"""Data rates that give a clock of whole picoseconds."""


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def timing_problems(values: dict[str, Any], t_rfc_ns: float | None = None) -> list[str]:
    """Return everything wrong with a timing table, one sentence each, empty when sound."""
    problems = []
    expected = [f.name for f in fields(Timing)]
    derived = {"n_rfc_cycles", "t_ck_ps"}
    sound: dict[str, int] = {}
    for name in expected:
        if name not in values:
            if name not in derived:
                problems.append(f"[timing] {name} is missing; state it in cycles")
        elif not _whole(values[name]):
            problems.append(
                f"[timing] {name} = {values[name]!r} is no whole number; give whole cycles"
            )
        elif values[name] <= 0:
            problems.append(f"[timing] {name} = {values[name]} must be above 0; correct it")
        else:
            sound[name] = values[name]
    problems.extend(
        f"[timing] {name} is no timing; {nearest(name, expected)}"
        for name in values
        if name not in expected
    )
    if "n_rfc_cycles" not in values and t_rfc_ns is None:
        problems.append("[timing] n_rfc_cycles is missing and the organisation has no t_rfc_ns")
    if t_rfc_ns is not None and _is_time(t_rfc_ns) and sound.get("data_rate_mbps") in _RATES_MBPS:
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


def organisation_problems(values: dict[str, Any]) -> list[str]:
    """Return everything wrong with an organisation table, one sentence each."""
    problems = []
    expected = [f.name for f in fields(Organisation)]
    for name in expected:
        value = values.get(name)
        if name not in values:
            problems.append(f"[organisation] {name} is missing")
        elif name == "t_rfc_ns":
            if not _is_time(value):
                problems.append(f"[organisation] t_rfc_ns = {value!r} must be a time above 0")
        elif not _whole(value) or value <= 0:  # type: ignore[operator]
            problems.append(f"[organisation] {name} = {value!r} must be a whole number above 0")
    unsound = bool(problems)
    for name in ("rows", "columns", "access_bytes", "bank_groups", "banks", "pseudo_channels"):
        value = values.get(name)
        if _whole(value) and value > 0 and value & (value - 1):  # type: ignore[operator]
            problems.append(
                f"[organisation] {name} = {value} must be a power of two: addresses have whole bits"
            )
    known = [*expected, "capacity_bytes"]
    problems.extend(
        f"[organisation] {name} is unknown; {nearest(name, known)}"
        for name in values
        if name not in known
    )
    if unsound:
        return problems
    built = Organisation(**{name: values[name] for name in expected})
    density = built.capacity_bytes // built.channels * 8 >> 20
    if density != built.channel_density_mbit:
        problems.append(
            f"[organisation] pseudo_channels x ranks x bank_groups x banks x rows x columns x "
            f"access_bytes give {density} Mbit a channel, channel_density_mbit says "
            f"{built.channel_density_mbit}; correct one of them"
        )
    stated = values.get("capacity_bytes")
    if stated is not None and stated != built.capacity_bytes:
        problems.append(
            f"[organisation] the numbers give {built.capacity_bytes} bytes, capacity_bytes says "
            f"{stated}; correct one of them"
        )
    return problems


def build_timing(values: dict[str, Any], t_rfc_ns: float) -> Timing:
    """Build a `Timing` from a sound table, deriving the clock period and the refresh time."""
    return Timing(**_with_derived(values, t_rfc_ns))


def _with_derived(values: dict[str, int], t_rfc_ns: float) -> dict[str, int]:
    t_ck_ps = values.get("t_ck_ps") or clock_period_ps(values["data_rate_mbps"])
    n_rfc = values.get("n_rfc_cycles") or ns_to_cycles(t_rfc_ns, t_ck_ps)
    return {**values, "t_ck_ps": t_ck_ps, "n_rfc_cycles": n_rfc}


def build_organisation(values: dict[str, Any]) -> Organisation:
    """Build an `Organisation` from a sound table."""
    return Organisation(**{f.name: values[f.name] for f in fields(Organisation)})


@cache
def _presets(kind: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        content = read_toml(path)
        for name, values in content.get(kind, {}).items():
            if name in found:
                raise UserError(f"{path}: preset {name} is defined twice; rename one of them")
            found[name] = values
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; `UserError` names the file and the line of what cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a TOML file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as TOML: {error}; correct the file") from None


def timing_names() -> list[str]:
    """Return the names of the timing presets."""
    return list(_presets("presets"))


def organisation_names() -> list[str]:
    """Return the names of the organisation presets."""
    return list(_presets("organisations"))


def timing_values(name: str) -> dict[str, Any]:
    """Return the raw table of a timing preset or of a TOML file's [timing]."""
    return _table(name, "presets", "timing", "timing preset")


def organisation_values(name: str) -> dict[str, Any]:
    """Return the raw table of an organisation preset or of a TOML file's [organisation]."""
    return _table(name, "organisations", "organisation", "organisation preset")


def _table(name: str, kind: str, section: str, word: str) -> dict[str, Any]:
    presets = _presets(kind)
    if name in presets:
        return dict(presets[name])
    path = Path(name)
    if path.suffix != ".toml":
        raise UserError(
            f"{word} {name!r} is unknown; {nearest(name, presets)}; or give a .toml file"
        )
    content = read_toml(path)
    table = content.get(section)
    if not isinstance(table, dict):
        raise UserError(f"{path}: has no [{section}] table; add one with the values of a preset")
    table = {key: value for key, value in table.items() if key not in ("source", "note")}
    preset = table.pop("preset", None)
    return {**_table(preset, kind, section, word), **table} if preset is not None else table


def load_organisation(name: str) -> Organisation:
    """Load an organisation preset or file; all its problems in one `UserError`."""
    values = organisation_values(name)
    _refuse(name, organisation_problems(values))
    return build_organisation(values)


def load_timing(name: str, organisation: Organisation) -> Timing:
    """Load a timing preset or file for an organisation; all its problems in one `UserError`."""
    values = timing_values(name)
    _refuse(name, timing_problems(values, organisation.t_rfc_ns))
    return build_timing(values, organisation.t_rfc_ns)


def _refuse(where: str, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{where}: " + "; ".join(problems))
