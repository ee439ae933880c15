"""What is measured: one file a metric, found by discovery; the file's stem is its public name.

A file holds one `METRIC`; what follows from the schema, one metric a column, is a family: a file
with `METRICS`, by name. Tables, figures and exports go through `metrics()`, so a new file is in
all of them.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from tracegen.base.discover import discover
from tracegen.base.errors import UserError, nearest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Metric", "metric", "metrics", "parts_of", "whole_metrics"]


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
    short: str = ""
    """Heading of its column in tables; empty: the title."""
    factor: bool = False
    """Read as a multiple (one and a half times), not as an amount of its unit."""
    part_of: str = ""
    """Metric that this is a part of: parts are in stacks and in the CSV, not in tables."""

    @property
    def charged(self) -> bool:
        """Whether it follows what a step is charged with: attention alone, or overheads too."""
        return any(root.startswith("charged_") for root in self.compute.meta.root_names())

    @property
    def heading(self) -> str:
        """The heading of its column, without the unit."""
        return self.short or self.title


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric by its public name, in the order of presentation.

    Raises:
        ImportError: a metric's file is broken, or defines neither `METRIC` nor `METRICS`.
    """
    found: dict[str, Metric] = {}
    for name, module in discover(sys.modules[__name__]).items():
        own = getattr(module, "METRICS", {name: getattr(module, "METRIC", None)})
        if not all(isinstance(one, Metric) for one in own.values()):
            raise ImportError(f"{module.__file__}: defines no METRIC of type Metric")
        found |= own
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def whole_metrics() -> dict[str, Metric]:
    """Return the metrics that tables show: all but the parts of others."""
    return {name: one for name, one in metrics().items() if not one.part_of}


def parts_of(whole: str) -> dict[str, Metric]:
    """Return the metrics that `whole` is the sum of."""
    return {name: one for name, one in metrics().items() if one.part_of == whole}


def metric(name: str) -> Metric:
    """Return one metric.

    Raises:
        UserError: no metric has this name.
    """
    known = metrics()
    if name not in known:
        raise UserError(f"metric {name!r} is unknown; {nearest(name, known)}")
    return known[name]
