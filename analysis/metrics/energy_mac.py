"""Energy of multiplying and adding beside the banks."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: MAC",
    unit="pJ",
    better="lower",
    source="MAC commands times the energy of one; coefficients in the hardware file.",
    compute=pl.col("mac_pj"),
    order=33,
)
