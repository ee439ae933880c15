"""Time of choosing and arranging tokens, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead latency",
    unit="ns",
    better="lower",
    source="Scoring of metadata, clustering and remap writes; null when one of them is unknown.",
    compute=pl.sum_horizontal("scoring_ns", "clustering_ns", "remap_ns", ignore_nulls=False),
    order=80,
)
