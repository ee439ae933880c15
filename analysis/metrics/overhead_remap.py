"""Rewriting keys and values into a new order, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead: remap",
    unit="ns",
    better="lower",
    source="Column of the results, summed over KV heads and layers; null when unknown.",
    compute=pl.col("remap_ns"),
    order=84,
)
