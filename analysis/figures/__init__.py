"""What is drawn: pure functions from the tidy table to a Plotly figure, one subject a file.

A figure is a `Drawing`: the plain data and layout that Plotly's JavaScript takes. Plotly's Python
classes check and copy every property, which takes longer than all the rest of a filter change;
the tests put each drawing through that check instead.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from tracegen.base.discover import discover

if TYPE_CHECKING:
    from analysis.results.tables import Table

__all__ = ["Drawing", "Figure", "figures"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawn figure, as Plotly's JavaScript takes it."""

    data: list[dict[str, Any]]
    """Traces, each with its `type`. A click chooses: in all of a trace `meta["pick"]`, at one
    point its `customdata`, and `meta["x"]`, `meta["y"]` name controls that take its place."""
    layout: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Return data and layout as one object, for JSON."""
        return {"data": self.data, "layout": self.layout}

    def still(self) -> "Drawing":
        """Return the drawing without what clicks choose, for pages that have no controls."""
        data = [
            {key: value for key, value in trace.items() if key not in ("meta", "customdata")}
            for trace in self.data
        ]
        return Drawing(data, self.layout)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report and the dashboard."""

    name: str
    """Public name: the file name of an exported figure, an anchor in the report."""
    title: str
    caption: str
    """What to look at, one or two sentences."""
    draw: "Callable[[Table], Drawing | None]"
    """Pure; None when the table does not hold what the figure shows."""
    scope: Literal["setting", "budgets", "hardware", "contexts"] = "setting"
    """Drawn for one trace, device and budget, or over all budgets, over all traces of the model,
    or over these on all devices."""
    needs: str = "values that these results do not hold"
    """What is missing where there is nothing to draw."""
    group: str = "Method by method"
    """Heading that it stands under."""
    order: int = 100
    marks: bool = False
    """In the dashboard, mark the layers and KV heads that are kept rather than leave out others:
    its axes are KV heads and layers."""


@cache
def figures() -> dict[str, Figure]:
    """Return every figure by name, in the order of presentation.

    Raises:
        ImportError: a file of this package is broken or defines no `FIGURES`.
    """
    found: list[Figure] = []
    for module in discover(sys.modules[__name__]).values():
        own = getattr(module, "FIGURES", None)
        if not isinstance(own, tuple) or not all(isinstance(one, Figure) for one in own):
            raise ImportError(f"{module.__file__}: defines no FIGURES, a tuple of Figure")
        found += own
    return {one.name: one for one in sorted(found, key=lambda one: (one.order, one.name))}
