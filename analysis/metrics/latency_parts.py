"""Where the time goes: the phases of attention, and the work beside it."""

import polars as pl

from analysis.metrics import Metric
from pimreplay.cost.overheads import OVERHEADS
from pimreplay.results.schema import PHASES

_SOURCES = {
    "phase": "Phase of the command schedule, summed over KV heads and layers.",
    "overhead": "Work beside attention, summed over KV heads and layers; null when unknown.",
}

METRICS = {
    f"latency_{column.removesuffix('_ns')}": Metric(
        title=f"Latency: {column.removesuffix('_ns')}",
        unit="ns",
        better="lower",
        source=_SOURCES[kind],
        compute=pl.col(column),
        order=200 + place,
        part_of="head_latency",
    )
    for place, (column, kind) in enumerate(
        [(column, "phase") for column in PHASES]
        + [(f"{name}_ns", "overhead") for name in OVERHEADS]
    )
}
