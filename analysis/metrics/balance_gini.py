"""Gini coefficient of the load of lanes: 0 is even, 1 is all in one."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Lane load, Gini coefficient",
    short="Lane Gini",
    unit="ratio",
    better="lower",
    source="Gini coefficient of the selected tokens per lane of the channels in use, by layer.",
    compute=pl.col("lane_gini_ratio"),
    order=64,
)
