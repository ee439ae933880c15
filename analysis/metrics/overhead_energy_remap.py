"""Energy of rewriting keys and values into a new order, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead energy: remap",
    unit="pJ",
    better="lower",
    source="Column of the results, summed over KV heads and layers; null when unknown.",
    compute=pl.col("remap_pj"),
    order=87,
)
