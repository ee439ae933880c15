"""The question that a sweep answers: what does each method cost where all keep as much?"""

from functools import partial
from typing import Any

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    INK,
    SCALE,
    axis_title,
    bars_height,
    colour_bar,
    drawing,
    pick,
)
from analysis.results.baselines import COSTS
from analysis.results.equal_recall import LEVELS, costs_at_recall
from analysis.results.tables import Table

LIGHT = 0.55
"""Part of the colour scale above which the ground is light and its text is dark."""


def equal_recall(table: Table, cost: str) -> Drawing | None:
    """Draw a table of methods and levels of recall, each cell the cost over dense attention."""
    costs = costs_at_recall(table, cost)
    known = costs["ratio"].drop_nulls()
    if known.is_empty():
        return None
    methods = costs["method"].unique(maintain_order=True).to_list()
    levels = [f"{100 * level:.0f} %" for level in LEVELS]
    values: list[list[float | None]] = [
        costs.filter(method=method)["ratio"].to_list() for method in methods
    ]
    largest = max(1.0, float(known.max()))  # type: ignore[arg-type]
    best = [
        min((v for v in column if v is not None), default=None)
        for column in zip(*values, strict=True)
    ]
    grid = {
        "type": "heatmap",
        "z": values,
        "x": levels,
        "y": methods,
        "colorscale": SCALE,
        "zmin": 0,
        "zmax": largest,
        "xgap": 2,
        "ygap": 2,
        "colorbar": colour_bar("multiple of dense"),
        "customdata": [[pick(method)] * len(levels) for method in methods],
        "hovertemplate": "%{y} at %{x}: %{z:.3f}\u00d7 dense<extra></extra>",
    }
    notes = [
        _text(level, method, value, best[column], largest)
        for method, row in zip(methods, values, strict=True)
        for column, (level, value) in enumerate(zip(levels, row, strict=True))
    ]
    return drawing(
        [grid],
        axis_title("Least attention mass kept", "ratio", table.charge.words),
        "",
        bars_height(len(methods)) + 20,
        xaxis={"type": "category", "range": [-0.5, len(levels) - 0.5], "showgrid": False},
        yaxis={
            "type": "category",
            "categoryarray": methods,
            "range": [len(methods) - 0.5, -0.5],
            "showgrid": False,
        },
        annotations=notes,
    )


def _text(
    level: str, method: str, value: float | None, best: float | None, largest: float
) -> dict[str, Any]:
    text = "not reached" if value is None else f"{value:.2f}\u00d7"
    dark = value is None or value / largest > LIGHT
    return {
        "x": level,
        "y": method,
        "text": f"<b>{text} \u2605</b>" if value is not None and value == best else text,
        "showarrow": False,
        "font": {"size": 12, "color": "#57606a" if value is None else INK if dark else "#ffffff"},
    }


FIGURES = tuple(
    Figure(
        name=f"{cost}_at_recall",
        title=f"{cost.capitalize()} at equal recall",
        caption="A decode step over one of dense attention on the same channels, where the method"
        " keeps at least this part of the attention mass: interpolated between its budgets, never"
        " beyond them. A star marks the best of a column.",
        draw=partial(equal_recall, cost=cost),
        scope="budgets",
        needs="results of dense attention and of another method",
        group="At equal recall",
        order=-2 + place,
    )
    for place, cost in enumerate(COSTS)
)
