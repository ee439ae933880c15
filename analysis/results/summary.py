"""The overview: one row per configuration with its baselines, and what it says in words."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.metrics import metrics
from analysis.results.baselines import BASELINES, COSTS, relative
from analysis.results.magnitudes import scaled
from analysis.results.reading_order import in_order
from analysis.results.tables import DESCRIPTION, Table


@dataclass(frozen=True, slots=True)
class Setting:
    """The one trace, device and budget that figures of scope `setting` are drawn for."""

    trace: str
    hardware: str
    budget: str

    def label(self) -> str:
        """Return the setting in words."""
        return f"trace {self.trace}, hardware {self.hardware}, budget {self.budget}"


def overview(table: Table) -> pl.DataFrame:
    """Return `DESCRIPTION`, every metric, and costs over each baseline, per configuration.

    Relative columns are called `<metric>_vs_<baseline>`; null where a baseline was not run.
    """
    measured = table.measured()
    versus = {
        f"{value}_vs_{baseline}": (value, baseline) for value in COSTS for baseline in BASELINES
    }
    for name, (value, baseline) in versus.items():
        measured = relative(measured, value, baseline, name, among=table.references)
    return (
        in_order(measured)
        .select("configuration", *DESCRIPTION, *metrics(), *versus)
        .sort("run", "trace", "hardware", "budget_tokens", maintain_order=True)
    )


def settings(table: Table) -> list[Setting]:
    """Return the settings in the results, the one with most methods first."""
    found = (
        table.configurations.filter(pl.col("policy") != "dense")
        .group_by("trace", "hardware", "budget")
        .agg(pl.col("method").n_unique(), pl.col("budget_tokens").min())
        .sort("method", "trace", "hardware", "budget_tokens", descending=[True, False, False, True])
    )
    if found.is_empty():
        found = table.configurations.unique(["trace", "hardware", "budget"]).sort(DESCRIPTION)
    columns = found.select("trace", "hardware", "budget").iter_rows()
    return [Setting(*row) for row in columns]


def at(table: Table, setting: Setting, scope: str = "setting") -> Table:
    """Return the part of the table at a setting; dense attention belongs to every budget.

    `scope` is a `Figure.scope`: `budgets` keeps every budget, `hardware` every device, `contexts`
    every trace of the same model.
    """
    described = table.configurations.filter(trace=setting.trace)
    if scope == "contexts":
        models = described["model"].unique().to_list()
        described = table.configurations.filter(pl.col("model").is_in(models))
    if scope != "hardware":
        described = described.filter(hardware=setting.hardware)
    if scope != "budgets":
        own = described.filter(budget=setting.budget)
        dense = described.filter(policy="dense").join(
            own.filter(policy="dense"), on=["run", "trace", "hardware"], how="anti"
        )
        dense = dense.unique(
            ["run", "trace", "hardware", "layout"], keep="first", maintain_order=True
        )
        described = pl.concat([own, dense])
    return table.narrowed(configurations=described["configuration"].to_list())


def words(table: Table, setting: Setting) -> list[str]:
    """Say what the results show at one setting, in sentences computed from the data."""
    sparse = at(table.narrowed(policy_layers=True), setting)
    rows = overview(sparse)
    dense = rows.filter(policy="dense")
    others = rows.filter(pl.col("policy") != "dense").drop_nulls("latency")
    if others.is_empty():
        return ["Only dense attention was run: there is nothing to compare it with."]
    factor, unit = scaled(rows["latency"].to_list(), "ns")
    layers = sorted(sparse.rows["layer"].unique().to_list())
    everywhere = sorted(table.rows["layer"].unique().to_list())
    kept = len(everywhere) - len(layers)
    sentences = []
    context = (
        f"On {setting.label()}: over the {_count(len(layers), 'layer')} that the policies decide"
    )
    if len(dense):
        fastest = others.sort("latency").row(0, named=True)
        sentences.append(
            f"{context}, attention of a decode step takes {dense['latency'][0] / factor:.3g} {unit}"
            f" when dense and {fastest['latency'] / factor:.3g} {unit} at best"
            f" ({fastest['method']}, {fastest['latency_vs_dense']:.2f} times dense)."
        )
    else:
        sentences.append(f"{context}, no dense run is in the results to compare with.")
    for row in others.iter_rows(named=True):
        sentences.append(_sentence(row))
    if kept:
        whole = overview(at(table, setting)).filter(pl.col("policy") != "dense")
        whole = whole.drop_nulls("latency_vs_dense").sort("latency")
        if len(whole):
            best = whole.row(0, named=True)
            sentences.append(
                f"With the {_count(kept, 'layer')} that the run kept dense included, the fastest"
                f" ({best['method']}) takes {best['latency_vs_dense']:.2f} times dense."
            )
    return sentences


def _sentence(row: dict[str, Any]) -> str:
    parts = []
    for baseline, called in BASELINES.items():
        ratio = row[f"latency_vs_{baseline}"]
        energy = row[f"energy_vs_{baseline}"]
        if row["policy"] == baseline or not isinstance(ratio, float):
            continue
        text = f"{_change(ratio)} latency"
        if isinstance(energy, float):
            text += f" and {_change(energy)} energy"
        parts.append(f"{text} against {called}")
    recall = [
        f"{100 * row[name]:.1f} % {called}"
        for name, called in (
            ("attention_mass", "of the attention mass"),
            ("topk_overlap", "of the exact top-k tokens"),
        )
        if isinstance(row[name], float)
    ]
    tail = f"; it keeps {' and '.join(recall)}" if recall else ""
    if isinstance(row["output_error"], float):
        tail += f", with an output error of {100 * row['output_error']:.1f} %"
    if isinstance(row["over_fetch"], float):
        tail += f", and reads {row['over_fetch']:.2f} tokens per selected one"
    return f"{row['method']}: {', '.join(parts) or 'no baseline was run'}{tail}."


def _change(ratio: float) -> str:
    percent = 100 * (ratio - 1)
    if abs(percent) < 0.05:
        return "the same"
    return f"{abs(percent):.1f} % {'less' if percent < 0 else 'more'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
