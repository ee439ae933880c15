"""What a step is charged with: attention alone, scoring too, or everything.

One definition serves every table, figure and sentence. Latency is that of the busiest channel of
each layer, layer after layer; `pimreplay.cost.all_in` says what overlaps. Energy is summed over
channels, KV heads and layers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from pimreplay.cost.overheads import OVERHEADS


@dataclass(frozen=True, slots=True)
class Charge:
    """One way of charging a decode step."""

    title: str
    """As a choice."""
    words: str
    """What is in it, in a sentence or beside an axis."""
    latency: str
    """Column with the latency of a layer."""
    overheads: tuple[str, ...]
    """Kinds of work beside attention that are in it."""

    def reads(self, name: str) -> list[str]:
        """Return the columns that one of `columns()` is computed from."""
        return self.columns()[name].meta.root_names()

    def holds(self, columns: Iterable[str]) -> bool:
        """Whether amounts of these columns are charged: those of attention always are."""
        left_out = set(OVERHEADS) - set(self.overheads)
        return not any(column.rpartition("_")[0] in left_out for column in columns)

    def columns(self) -> dict[str, pl.Expr]:
        """Return the charged amounts over aggregated columns; null where a part is unknown."""

        def total(attention: str, unit: str) -> pl.Expr:
            own = [attention, *(f"{name}_{unit}" for name in self.overheads)]
            return pl.sum_horizontal(own, ignore_nulls=False)

        return {
            "charged_latency_ns": pl.col(self.latency),
            "charged_busy_ns": total("latency_ns", "ns"),
            "charged_energy_pj": total("energy_pj", "pj"),
        }


CHARGES = {
    "attention": Charge("attention", "attention alone", "layer_latency_ns", ()),
    "scoring": Charge(
        "+ scoring", "attention and scoring", "latency_with_scoring_ns", OVERHEADS[:1]
    ),
    "all": Charge("+ all", "all overheads included", "latency_with_overheads_ns", OVERHEADS),
}
"""By name, each with all of the one before it."""

DEFAULT_CHARGE = "all"

CHARGED = {
    name: tuple(dict.fromkeys(root for one in CHARGES.values() for root in one.reads(name)))
    for name in CHARGES[DEFAULT_CHARGE].columns()
}
"""Columns that follow from the charge, with the columns that they are computed from."""
