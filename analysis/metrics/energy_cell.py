"""Energy of reading the cells of open rows."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy: cell",
    unit="pJ",
    better="lower",
    source="Bytes read times the cell energy; coefficients in the hardware file.",
    compute=pl.col("cell_pj"),
    order=31,
)
