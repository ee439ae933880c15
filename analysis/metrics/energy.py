"""Energy of the attention of one decode step, overheads apart."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Attention energy of a decode step",
    short="Energy",
    unit="pJ",
    better="lower",
    source="Sum of the parts below over KV heads and layers.",
    compute=pl.col("energy_pj"),
    order=20,
)
