"""Part of the fetched lanes that hold a selected token."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Lane utilisation",
    short="Lane use",
    unit="ratio",
    better="higher",
    source="Selected tokens over lanes of the blocks read.",
    compute=pl.col("lane_utilisation_ratio"),
    order=61,
)
