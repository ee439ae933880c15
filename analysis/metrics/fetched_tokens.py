"""Tokens read by the banks for one query head, whole blocks."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Tokens read",
    unit="tokens",
    better="lower",
    source="Block capacity times blocks touched; mean over query heads, summed over KV heads"
    " and layers.",
    compute=pl.col("fetched_tokens"),
    order=51,
)
