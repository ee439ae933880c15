"""Softmax weight of exact attention that falls on the selected tokens."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Attention mass kept",
    short="Mass kept",
    unit="ratio",
    better="higher",
    source="Sum of exact softmax weights over the selection; mean over query heads.",
    compute=pl.col("attention_mass_ratio"),
    order=30,
)
