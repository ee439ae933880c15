"""The busiest channel against the mean of the channels in use."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Channel imbalance",
    unit="busiest / mean",
    better="lower",
    factor=True,
    source="Busy time of channels in a layer, maximum over mean.",
    compute=pl.col("busiest_channel_ns") / pl.col("mean_channel_ns"),
    order=62,
)
