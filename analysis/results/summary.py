"""The overview: one row per configuration with its baselines, and the settings to look at."""

from dataclasses import dataclass

import polars as pl

from analysis.metrics import metrics
from analysis.results.baselines import BASELINES, COSTS, relative
from analysis.results.methods import in_order
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

    `cost` says what latency and energy contain. Relative columns are called
    `<metric>_vs_<baseline>`, and `<metric>_vs_<baseline>_baseline` is the label of the method that
    was compared with; null where no baseline was run under the same conditions.
    """
    measured = table.measured()
    versus = {
        f"{value}_vs_{baseline}": (value, baseline) for value in COSTS for baseline in BASELINES
    }
    for name, (value, baseline) in versus.items():
        measured = relative(measured, value, baseline, name, among=table.references)
    return (
        in_order(measured)
        .select(
            "configuration",
            *DESCRIPTION,
            pl.lit(table.charged).alias("cost"),
            "full",
            "channels",
            "device_channels",
            *metrics(),
            *[part for name in versus for part in (name, f"{name}_baseline")],
        )
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

    `scope` is a `Figure.scope`: `budgets` keeps every budget, `contexts` every trace of the same
    model, `hardware` these on every device.
    """
    described = table.configurations.filter(trace=setting.trace)
    if scope in ("contexts", "hardware"):
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
