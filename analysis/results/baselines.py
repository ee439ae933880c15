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
    by: tuple[str, ...] = (),
    among: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Add to each row the `value` that `baseline` reached under the same conditions.

    Same conditions: trace, hardware, channels in use, `by`, and (except for dense, which reads
    everything) budget. Of several, the one of the same run and layout is preferred, then the
    sequential layout, which is where a token-wise policy or dense attention leaves the tokens.
    Adds `baseline`, and `baseline_method`, its label; null where the results hold no such run.

    Args:
        measured: Rows with `configuration`, `run`, `trace`, `hardware`, `budget`, `layout`,
            `channels`, `method`, `policy`, `rank`, `by` and `value`.
        value: Column that is looked up.
        baseline: Public name of a policy.
        by: Further columns that must be the same.
        among: Where the baseline is looked for; None: in `measured`.
    """
    same = ["trace", "hardware", "channels", *by] + ([] if baseline == "dense" else ["budget"])
    candidates = (measured if among is None else among).filter(pl.col("policy") == baseline)
    row = ["configuration", *by]
    found = (
        measured.select(*dict.fromkeys([*row, *same, "run", "layout"]))
        .join(
            candidates.select(
                *same,
                "rank",
                baseline=value,
                baseline_method="method",
                its_run="run",
                its_layout="layout",
            ),
            on=same,
            nulls_equal=True,
        )
        .sort(
            pl.col("run") != pl.col("its_run"),
            pl.col("layout") != pl.col("its_layout"),
            pl.col("its_layout") != "sequential",
            "rank",
        )
        .unique(row, keep="first", maintain_order=True)
    )
    return measured.join(
        found.select(*row, "baseline", "baseline_method"), on=row, how="left", maintain_order="left"
    )


def relative(
    measured: pl.DataFrame,
    value: str,
    baseline: str,
    name: str,
    by: tuple[str, ...] = (),
    among: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Add the column `name`: `value` over what the baseline reached; null without a baseline.

    Beside it, `<name>_baseline` is the label of the method that was compared with.
    """
    ratio = pl.when(pl.col("baseline") > 0).then(pl.col(value) / pl.col("baseline"))
    return (
        with_baseline(measured, value, baseline, by=by, among=among)
        .with_columns(ratio.alias(name))
        .rename({"baseline_method": f"{name}_baseline"})
        .drop("baseline")
    )
