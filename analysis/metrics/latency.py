"""Time of one decode step: the layers one after another."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency",
    unit="ns",
    better="lower",
    source="Of a decode step: sum over layers; a layer ends with its busiest channel. Scoring and"
    " remapping keep the channel of their KV head busy; clustering runs on the host, one KV head"
    " after another, and the layer waits for it. Nothing overlaps, so a system that hides some of"
    " it takes less.",
    compute=pl.col("charged_latency_ns"),
    order=10,
)
