"""Energy of choosing and arranging tokens, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overhead energy",
    unit="pJ",
    better="lower",
    source="Scoring of metadata, clustering and remap writes; null when one of them is unknown.",
    compute=pl.sum_horizontal("scoring_pj", "clustering_pj", "remap_pj", ignore_nulls=False),
    order=81,
)
