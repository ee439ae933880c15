"""Means over the prompts of a study, with an interval: one prompt proves nothing."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analysis.results.summary import overview

if TYPE_CHECKING:
    from analysis.results.tables import Table

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0
METHOD = (
    f"means over prompts with a {LEVEL:.0%} interval of the mean: percentile bootstrap over prompts"
    f" (Efron 1979), {RESAMPLES:,} resamples, seed {SEED}; too narrow for a handful of prompts"
)
GROUP = (
    *("run", "prompts", "model", "trace_kind", "hardware", "budget"),
    *("policy", "policy_parameters", "layout", "method", "cost"),
)
"""What names a row: a configuration with the folder of traces in the place of the trace."""


def over_prompts(table: "Table") -> pl.DataFrame:
    """Return one row per method over all prompts of the folder of traces that was replayed.

    Columns: `GROUP`, `n_prompts`, and for each column c of the overview c (the mean over
    prompts), c_low and c_high (the interval of that mean; null for a single prompt). A ratio to a
    baseline is taken prompt by prompt and then averaged. A value that is not known for one prompt
    is not known for all. Traces that were given alone are left out.
    """
    folders = pl.DataFrame(
        [
            (run.name, one["name"], one["prompts"])
            for run in table.runs
            for one in run.config["traces"]
            if one.get("prompts")
        ],
        schema={"run": pl.String, "trace": pl.String, "prompts": pl.String},
        orient="row",
    )
    rows = overview(table).join(folders, on=["run", "trace"])
    described = {*GROUP, "configuration", "trace", "budget_tokens", "channels", "device_channels"}
    numbers = rows.select(pl.selectors.numeric() | pl.selectors.by_dtype(pl.Null))
    values = [name for name in numbers.columns if name not in described]
    found = [_summary(part, values) for part in rows.partition_by(GROUP, maintain_order=True)]
    return pl.concat(found) if found else pl.DataFrame()


def _summary(part: pl.DataFrame, values: list[str]) -> pl.DataFrame:
    """Return one method's prompts as one row."""
    numbers = part.select(pl.col(values).cast(pl.Float64)).to_numpy()  # null becomes NaN
    mean, low, high = numbers.mean(axis=0), *interval(numbers)
    columns: dict[str, float] = {}
    for name, *one in zip(values, mean, low, high, strict=True):
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), map(float, one), strict=True))
    counted = part.head(1).select(*GROUP, n_prompts=pl.lit(len(part)))
    measured = pl.DataFrame([columns]).fill_nan(None)
    return pl.concat([counted, measured], how="horizontal")


def interval(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of each column's mean: (prompts, columns) float64 -> two (columns,).

    NaN for fewer than two prompts, and where a column holds one.
    """
    prompts = len(numbers)
    if prompts < 2:
        unknown = np.full(numbers.shape[1], np.nan)
        return unknown, unknown
    random = np.random.default_rng(SEED)
    share = random.multinomial(prompts, np.full(prompts, 1 / prompts), RESAMPLES) / prompts
    means = share @ numbers
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high
