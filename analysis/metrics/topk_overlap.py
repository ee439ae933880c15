"""Part of the exact top-k tokens that the policy selected."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Overlap with exact top-k",
    short="Top-k overlap",
    unit="ratio",
    better="higher",
    source="Selected tokens among as many exact top-scoring tokens; mean over query heads.",
    compute=pl.col("topk_overlap_ratio"),
    order=31,
)
