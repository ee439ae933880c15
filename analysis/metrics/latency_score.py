"""Time of multiplying the query with the keys, summed over KV heads."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency: score",
    unit="ns",
    better="lower",
    source="Phase of the command schedule, summed over KV heads.",
    compute=pl.col("score_ns"),
    order=40,
)
