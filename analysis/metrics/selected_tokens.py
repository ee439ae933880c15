"""Tokens that the policy attends to."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Tokens selected",
    unit="tokens",
    better="lower",
    source="Mean over query heads, summed over KV heads and layers.",
    compute=pl.col("selected_tokens"),
    order=52,
)
