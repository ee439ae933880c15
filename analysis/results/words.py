"""What the results show, in sentences computed from the data."""

import polars as pl

from analysis.results.baselines import COSTS
from analysis.results.devices import reasons
from analysis.results.equal_recall import LEVELS, costs_at_recall
from analysis.results.magnitudes import scaled, times
from analysis.results.summary import Setting, at
from analysis.results.tables import Table

_CALLED = {"latency": "Fastest", "energy": "Least energy"}
SAME = ("latency", "energy", "attention_mass", "over_fetch")
"""Metrics in which two methods must agree to be called the same."""


def words(table: Table, setting: Setting) -> list[str]:
    """Say at one setting what dense attention takes, and which methods are best at equal recall."""
    sparse = table.narrowed(policy_layers=True)
    shown = at(sparse, setting)
    measured = shown.measured()
    if measured.filter(pl.col("policy") != "dense").is_empty():
        return ["Only dense attention was run: there is nothing to compare it with."]
    budgets = at(sparse, setting, "budgets")
    found = [_dense(shown, setting), *(_best(budgets, cost) for cost in COSTS)]
    found += reasons(at(sparse, setting, "hardware"))
    return [one for one in (*found, *_notes(table, shown)) if one]


def _dense(table: Table, setting: Setting) -> str:
    layers = table.rows["layer"].n_unique()
    where = (
        f"On trace {setting.trace}, hardware {setting.hardware}: over the"
        f" {_count(layers, 'layer')} that the policies decide"
    )
    dense = table.references.filter(policy="dense", trace=setting.trace, hardware=setting.hardware)
    if dense.is_empty():
        return f"{where}, no dense run is in the results to compare with."
    row = dense.sort("rank").row(0, named=True)
    if row["latency"] is None:
        return f"{where}, the latency of a decode step is not known {table.charge.words}."
    factor, unit = scaled([row["latency"]], "ns")
    text = f"{where}, a decode step takes {row['latency'] / factor:.3g} {unit} when dense"
    if row["channels"] is not None and row["device_channels"] is not None:
        text += f", with {row['channels']} of {row['device_channels']} channels in use"
    return f"{text}. Latency and energy below: {table.charge.words}."


def _best(table: Table, cost: str) -> str:
    """Name the best method at each level that one reaches."""
    costs = costs_at_recall(table, cost)
    if costs.is_empty():
        return ""
    parts = []
    for level in LEVELS:
        own = costs.filter(pl.col("level") == level).drop_nulls("ratio").sort("ratio", "rank")
        if own.is_empty():
            parts.append(f"none keeps {100 * level:.0f} %")
            break  # nor more
        row = own.row(0, named=True)
        named = f"{row['method']} ({times(row['ratio'])} dense)"
        worse = "none beats dense, the next is " if row["ratio"] >= 1 else ""
        parts.append(f"at {100 * level:.0f} % {worse}{named}")
    budgets = table.configurations.filter(pl.col("policy") != "dense")["budget"].n_unique()
    over = "" if budgets == 1 else ", interpolated between budgets"
    return f"{_CALLED[cost]} that keeps that part of the attention mass{over}: {', '.join(parts)}."


def _notes(table: Table, shown: Table) -> list[str]:
    measured = shown.measured()
    found = []
    for called in duplicates(measured):
        found.append(f"The same results, so drawn on one another: {', '.join(called)}.")
    unknown = measured.filter(pl.col("latency").is_null())["method"].to_list()
    if unknown:
        found.append(f"Not known {shown.charge.words}: {', '.join(unknown)}.")
    kept = table.rows["layer"].n_unique() - shown.rows["layer"].n_unique()
    if kept:
        found.append(
            f"The {_count(kept, 'layer')} that the run kept dense take the same under every method"
            " and are left out."
        )
    return found


def duplicates(measured: pl.DataFrame) -> list[list[str]]:
    """Return the methods that cannot be told apart by their results, group by group."""
    same = ["trace", "hardware", "budget", *(pl.col(name).round_sig_figs(9) for name in SAME)]
    groups = measured.sort("rank").group_by(same, maintain_order=True).agg(pl.col("method"))
    return [list(one) for one in groups["method"] if len(one) > 1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
