"""Energy of scoring centroids, pages or codes, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead energy: scoring",
    unit="pJ",
    better="lower",
    source="Column of the results, summed over KV heads and layers; null when unknown.",
    compute=pl.col("scoring_pj"),
    order=85,
)
