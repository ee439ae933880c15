"""Energy of clustering keys, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead energy: clustering",
    unit="pJ",
    better="lower",
    source="Column of the results, summed over KV heads and layers; null when unknown.",
    compute=pl.col("clustering_pj"),
    order=86,
)
