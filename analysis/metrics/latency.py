"""Time of the attention of one decode step: the layers one after another."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Attention latency of a decode step",
    short="Latency",
    unit="ns",
    better="lower",
    source="Sum over layers of the layer latency; a layer ends with its busiest channel.",
    compute=pl.col("layer_latency_ns"),
    order=10,
)
