"""Time that KV heads are worked on, whatever else goes on at the same time."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Busy time",
    unit="ns",
    better="lower",
    source="Sum over KV heads and layers of the phases of attention, and of the overheads that are"
    " charged; KV heads on different channels overlap, so a step takes less.",
    compute=pl.col("charged_busy_ns"),
    order=82,
)
