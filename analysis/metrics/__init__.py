"""What is measured: one `Metric` a file, found by discovery; the file's stem is its public name."""

import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from tracegen.base.discover import discover
from tracegen.base.errors import UserError, nearest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Metric", "metric", "metrics"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity that is reported, and how it follows from the tidy table.

    `compute` is evaluated on columns that are already aggregated to the grain being shown (a
    method, a layer, a KV head): amounts (ns, pJ, counts) are means over decode steps and sums
    over KV heads and layers, ratios are means over all three. So one definition serves every
    figure, and a ratio of amounts is the ratio of the sums.
    """

    title: str
    """A few words, without the unit."""
    unit: str
    """`ns`, `pJ`, `ratio` (0..1 or a factor), `tokens`, ...; empty never."""
    better: Literal["lower", "higher"]
    source: str
    """Where the definition comes from, in words or as a reference."""
    compute: "pl.Expr"
    """The value, over the aggregated columns of `analysis.results.tables`; null where unknown."""
    order: int = 100
    """Place in tables and menus, smallest first."""


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric by its public name, in the order of presentation.

    Raises:
        ImportError: a metric's file is broken or defines no `METRIC`.
    """
    found = {}
    for name, module in discover(sys.modules[__name__]).items():
        value = getattr(module, "METRIC", None)
        if not isinstance(value, Metric):
            raise ImportError(f"{module.__file__}: defines no METRIC of type Metric")
        found[name] = value
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def metric(name: str) -> Metric:
    """Return one metric.

    Raises:
        UserError: no metric has this name.
    """
    known = metrics()
    if name not in known:
        raise UserError(f"metric {name!r} is unknown; {nearest(name, known)}")
    return known[name]
