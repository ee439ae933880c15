"""What is drawn: pure functions from the tidy table to a Plotly figure, one subject a file."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from tracegen.discover import discover

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.tables import Table

__all__ = ["Figure", "figures"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report and the dashboard."""

    name: str
    """Public name: the file name of an exported figure, an anchor in the report."""
    title: str
    caption: str
    """What to look at, one or two sentences."""
    draw: "Callable[[Table], go.Figure | None]"
    """Pure; None when the table does not hold what the figure shows."""
    scope: Literal["setting", "budgets", "hardware"] = "setting"
    """Drawn for one trace, device and budget, or over all budgets, or over all devices."""
    group: str = "Method by method"
    """Heading that it stands under."""
    order: int = 100


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
