"""Energy of refreshing the device while it works."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: refresh",
    unit="pJ",
    better="lower",
    source="Power times latency; coefficients in the hardware file.",
    compute=pl.col("refresh_pj"),
    order=36,
)
