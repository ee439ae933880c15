"""What a device does to dense attention, and which of its numbers that follows from."""

import polars as pl

from analysis.results.hardware import mapping_in
from analysis.results.tables import Table
from pimreplay.results.reader import Results
from pimreplay.results.schema import PHASES
from tracegen.base.errors import UserError

_PARTS = {f"latency_{name.removesuffix('_ns')}": name.removesuffix("_ns") for name in PHASES}
"""Metrics of the phases of attention, as they are called in text."""

SHARE = 0.05
"""Phases with a smaller part of the time say nothing about the whole."""


def dense_by_device(table: Table, value: str) -> dict[str, float]:
    """Return what dense attention takes on each device, the geometric mean over traces.

    `value` is `latency` or `energy`.
    """
    dense = table.references.filter(policy="dense").sort("rank")
    dense = dense.unique(["trace", "hardware"], keep="first").drop_nulls(value)
    means = dense.group_by("hardware").agg(pl.col(value).log().mean().exp()).sort("hardware")
    return dict(means.select("hardware", value).iter_rows())


def facts(table: Table) -> dict[str, list[str]]:
    """Return the numbers of each device that decide how long it reads, in words.

    As the runs recorded them; none of a device whose values they did not record in full.
    """
    runs = {run.name: run for run in table.runs}
    used = table.configurations.filter(policy="dense").sort("rank")
    found = {}
    for row in used.unique("hardware", keep="first").iter_rows(named=True):
        told = _reading(runs[row["run"]], row["hardware"], row["trace"])
        if row["channels"] is not None and row["device_channels"] is not None:
            told.append(f"{row['channels']} of {row['device_channels']} channels")
        found[row["hardware"]] = told
    return found


def _reading(run: Results, hardware: str, trace: str) -> list[str]:
    """Say how fast a channel reads keys of one row, and what changing to the next row costs."""
    try:
        mapping = mapping_in(run, hardware, trace)
    except (KeyError, UserError):
        return []
    keys, t_ck_ns = mapping.keys, mapping.device.t_ck_ns
    block, switch = mapping.pace_cycles()
    told = [f"{keys.block_tokens} tokens in {block * t_ck_ns:.3g} ns"]
    if switch:
        row_tokens = keys.block_tokens * keys.blocks_per_row
        told.append(f"{switch * t_ck_ns:.3g} ns to the next row of {row_tokens}")
    return told


def reasons(table: Table) -> list[str]:
    """Say why dense attention is slower on each device than on the fastest.

    `table` holds the devices that are compared, for one model.
    """
    taken = dense_by_device(table, "latency")
    if len(taken) < 2:
        return []
    fastest = min(taken, key=lambda name: taken[name])
    phases = _phases(table)
    known = facts(table)
    return [
        _reason(name, fastest, taken, phases, known)
        for name in taken
        if taken[name] > taken[fastest]
    ]


def _phases(table: Table) -> dict[str, dict[str, float]]:
    """Return the time in each phase of dense attention by device, mean over traces."""
    dense = table.measured(only=("latency", *_PARTS)).filter(policy="dense")
    means = dense.group_by("hardware").agg(pl.col(name).mean() for name in _PARTS)
    return {row.pop("hardware"): row for row in means.iter_rows(named=True)}


def _reason(
    name: str,
    fastest: str,
    taken: dict[str, float],
    phases: dict[str, dict[str, float]],
    known: dict[str, list[str]],
) -> str:
    text = f"Dense attention takes {taken[name] / taken[fastest]:.2f}\u00d7 as long on {name} as on"
    own, other = phases.get(name, {}), phases.get(fastest, {})
    total = sum(value or 0.0 for value in own.values())
    longer = [
        f"{called} {own[part] / other[part]:.2f}\u00d7"
        for part, called in _PARTS.items()
        if own.get(part) and other.get(part) and own[part] > SHARE * total
    ]
    text += f" {fastest}" + (f" ({', '.join(longer)})" if longer else "")
    differing = [one for one in known.get(name, []) if one not in known.get(fastest, [])]
    there = [one for one in known.get(fastest, []) if one not in known.get(name, [])]
    if differing and there:
        text += f": {', '.join(differing)}, against {', '.join(there)}"
    return f"{text}."
