"""Time of the softmax, summed over KV heads."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency: softmax",
    unit="ns",
    better="lower",
    source="Phase of the command schedule, summed over KV heads.",
    compute=pl.col("softmax_ns"),
    order=41,
)
