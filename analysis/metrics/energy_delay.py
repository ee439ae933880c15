"""Energy-delay product of the attention of one decode step."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy-delay product",
    short="Energy \u00d7 delay",
    unit="pJ·ns",
    better="lower",
    source="Energy times latency of a decode step (Horowitz, Indermaur, Gonzalez, 1994).",
    compute=pl.col("charged_energy_pj") * pl.col("charged_latency_ns"),
    order=21,
)
