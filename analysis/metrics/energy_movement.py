"""Energy of moving data on the die, through the stack and off it."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: movement",
    unit="pJ",
    better="lower",
    source="Bytes moved times the energy of each level; coefficients in the hardware file.",
    compute=pl.col("movement_pj"),
    order=32,
)
