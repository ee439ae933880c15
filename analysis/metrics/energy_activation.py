"""Energy of opening DRAM rows."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: activation",
    unit="pJ",
    better="lower",
    source="Row activations times the energy of one; coefficients in the hardware file.",
    compute=pl.col("activation_pj"),
    order=30,
)
