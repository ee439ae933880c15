"""Time of transfers that are not hidden behind the MACs, summed over KV heads."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency: move",
    unit="ns",
    better="lower",
    source="Phase of the command schedule, summed over KV heads.",
    compute=pl.col("move_ns"),
    order=43,
)
