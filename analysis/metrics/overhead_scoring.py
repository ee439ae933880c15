"""Scoring centroids, pages or codes, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead: scoring",
    unit="ns",
    better="lower",
    source="Column of the results, summed over KV heads and layers; null when unknown.",
    compute=pl.col("scoring_ns"),
    order=82,
)
