"""Tokens read for each token selected."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Over-fetch",
    unit="tokens read per token selected",
    better="lower",
    factor=True,
    source="Block capacity times blocks touched by a query head, over tokens selected; the"
    " row-rounding that the STARC artefact counts (arXiv 2505.05772).",
    compute=pl.col("fetched_tokens") / pl.col("selected_tokens"),
    order=50,
)
