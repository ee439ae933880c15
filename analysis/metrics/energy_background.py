"""Energy of keeping the device powered while it works."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: background",
    unit="pJ",
    better="lower",
    source="Power times latency; coefficients in the hardware file.",
    compute=pl.col("background_pj"),
    order=35,
)
