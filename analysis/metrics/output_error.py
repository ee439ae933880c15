"""Relative error of the attention output."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Error of the attention output",
    short="Output error",
    unit="ratio",
    better="lower",
    source="Euclidean norm of the difference to exact attention over the norm of exact"
    " attention; mean over query heads.",
    compute=pl.col("output_error_ratio"),
    order=32,
)
