"""The busiest lane against the mean lane."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Lane imbalance",
    unit="busiest / mean",
    better="lower",
    factor=True,
    source="Selected tokens per lane of the channels in use, maximum over mean, by layer.",
    compute=pl.col("lane_busiest_ratio"),
    order=63,
)
