"""Families of metrics: what a whole consists of, attention's own parts and the work beside it."""

from collections.abc import Iterable

import polars as pl

from analysis.metrics import Metric
from pimreplay.cost.overheads import OVERHEADS


def family(
    name: str, unit: str, own: Iterable[str], source: str, *, part_of: str, order: int
) -> dict[str, Metric]:
    """Return a metric a column: attention's `own` columns, then one a kind of overhead."""
    ending = f"_{unit.lower()}"
    beside = "Work beside attention, summed over KV heads and layers; null when unknown."
    columns = dict.fromkeys(own, source) | {f"{one}{ending}": beside for one in OVERHEADS}
    return {
        f"{name}_{column.removesuffix(ending)}": Metric(
            title=f"{name.capitalize()}: {column.removesuffix(ending)}",
            unit=unit,
            better="lower",
            source=why,
            compute=pl.col(column),
            order=order + place,
            part_of=part_of,
        )
        for place, (column, why) in enumerate(columns.items())
    }


def overheads(unit: str) -> pl.Expr:
    """Return all overheads together, null where one of them is unknown."""
    return pl.sum_horizontal(*(f"{one}_{unit.lower()}" for one in OVERHEADS), ignore_nulls=False)


OVERHEADS_SOURCE = (
    "Scoring, clustering and remap writes, summed over KV heads and layers; null when one of them"
    " is unknown."
)
