"""Energy of choosing and arranging tokens, beside the attention itself."""

import polars as pl

from analysis.metrics import Metric
from pimreplay.cost.overheads import OVERHEADS

METRIC = Metric(
    title="Overhead energy",
    unit="pJ",
    better="lower",
    source="Scoring, clustering and remap writes, summed over KV heads and layers; null when one"
    " of them is unknown.",
    compute=pl.sum_horizontal(*(f"{name}_pj" for name in OVERHEADS), ignore_nulls=False),
    order=81,
)
