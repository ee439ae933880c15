"""Where the energy goes: the parts of attention, and the work beside it."""

import polars as pl

from analysis.metrics import Metric
from pimreplay.cost.energy_parts import ENERGY_PARTS
from pimreplay.cost.overheads import OVERHEADS

_SOURCES = {
    "part": "Counted events times the coefficients of the hardware file; null without one.",
    "overhead": "Work beside attention, summed over KV heads and layers; null when unknown.",
}

METRICS = {
    f"energy_{column.removesuffix('_pj')}": Metric(
        title=f"Energy: {column.removesuffix('_pj')}",
        unit="pJ",
        better="lower",
        source=_SOURCES[kind],
        compute=pl.col(column),
        order=220 + place,
        part_of="energy",
    )
    for place, (column, kind) in enumerate(
        [(column, "part") for column in ENERGY_PARTS]
        + [(f"{name}_pj", "overhead") for name in OVERHEADS]
    )
}
