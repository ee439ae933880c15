"""DRAM rows opened in a decode step."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Row activations",
    unit="activations",
    better="lower",
    source="Activate commands times banks, summed over KV heads and layers.",
    compute=pl.col("activations"),
    order=60,
)
