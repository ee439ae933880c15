"""Time of weighting the values, summed over KV heads."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency: context",
    unit="ns",
    better="lower",
    source="Phase of the command schedule, summed over KV heads.",
    compute=pl.col("context_ns"),
    order=42,
)
