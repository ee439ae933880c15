"""Set every method against its baselines: dense attention, and the token-wise policies."""

import polars as pl

BASELINES = {
    "dense": "dense",
    "topk": "exact top-k",
    "sparq": "SparQ",
}
"""Policies that others are compared with, and how they are called in text."""

COSTS = ("latency", "energy")
"""Metrics that are set against the baselines."""


def with_baseline(
    measured: pl.DataFrame,
    value: str,
    baseline: str,
    name: str = "baseline",
    by: tuple[str, ...] = (),
    among: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Add to each row the `value` that `baseline` reached under the same conditions.

    The baseline is looked for in `among`, which has the columns of `measured`; None: in itself.

    Same conditions: trace, hardware, `by`, and (except for dense, which reads everything) budget.
    The same run is preferred, then the sequential layout, which is where a token-wise policy or
    dense attention leaves the tokens. Null where the results hold no such run.
    """
    same = ["trace", "hardware", *by] + ([] if baseline == "dense" else ["budget"])
    candidates = (
        (measured if among is None else among)
        .filter(pl.col("policy") == baseline)
        .sort(
            [pl.col("layout") != "sequential", pl.col("policy_parameters") != "", "configuration"]
        )
        .select(*same, "run", pl.col(value).alias(name))
    )
    own = candidates.unique([*same, "run"], keep="first", maintain_order=True)
    any_run = candidates.drop("run").unique(same, keep="first", maintain_order=True)
    return (
        measured.join(own, on=[*same, "run"], how="left", maintain_order="left")
        .join(any_run, on=same, how="left", suffix="_any", maintain_order="left")
        .with_columns(pl.coalesce(name, f"{name}_any").alias(name))
        .drop(f"{name}_any")
    )


def relative(
    measured: pl.DataFrame,
    value: str,
    baseline: str,
    name: str,
    by: tuple[str, ...] = (),
    among: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Add the column `name`: `value` over what the baseline reached; null without a baseline."""
    ratio = pl.when(pl.col("baseline") > 0).then(pl.col(value) / pl.col("baseline"))
    return (
        with_baseline(measured, value, baseline, by=by, among=among)
        .with_columns(ratio.alias(name))
        .drop("baseline")
    )
