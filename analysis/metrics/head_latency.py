"""Time that one KV head keeps its channel busy, without waiting for the others."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Latency summed over KV heads",
    short="Busy time",
    unit="ns",
    better="lower",
    source="Sum over KV heads of score, softmax, context and exposed moves; heads on different"
    " channels overlap.",
    compute=pl.col("latency_ns"),
    order=82,
)
