"""Energy of one decode step."""

import polars as pl

from analysis.metrics import Metric

METRIC = Metric(
    title="Energy",
    unit="pJ",
    better="lower",
    source="Of a decode step: sum of its parts over KV heads and layers; null when one of them is"
    " unknown.",
    compute=pl.col("charged_energy_pj"),
    order=20,
)
