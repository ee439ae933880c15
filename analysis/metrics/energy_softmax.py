"""Energy of the softmax unit of the buffer die."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: softmax",
    unit="pJ",
    better="lower",
    source="Scores times the energy of one; coefficients in the hardware file.",
    compute=pl.col("softmax_pj"),
    order=34,
)
