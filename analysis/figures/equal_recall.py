"""The question that a sweep answers: what does each method cost where all keep as much?"""

import math
from functools import partial
from typing import Any

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    BASELINE,
    INK,
    NEEDS_ACCURACY,
    axis_title,
    bars_height,
    drawing,
    pick,
)
from analysis.results.baselines import COSTS
from analysis.results.equal_recall import LEVELS, QUALITIES, costs_at_recall
from analysis.results.magnitudes import times
from analysis.results.tables import Table

SHADES = [[0, "#fdfaf0"], [1, "#dcb94e"]]
"""From cheap to dear; light enough to read dark numbers on."""


def equal_recall(table: Table, cost: str, quality: str) -> Drawing | None:
    """Draw a table of methods and levels of quality, each cell the cost over dense attention."""
    costs = costs_at_recall(table, cost, quality)
    known = costs["ratio"].drop_nulls()
    if known.is_empty():
        return None
    methods = costs["method"].unique(maintain_order=True).to_list()
    levels = [f"{100 * level:.0f} %" for level in LEVELS]
    values: list[list[float | None]] = [
        costs.filter(method=method)["ratio"].to_list() for method in methods
    ]
    best = [
        min((v for v in column if v is not None), default=None)
        for column in zip(*values, strict=True)
    ]
    # a method can cost a hundred times another: colours follow the logarithm, cells say the number
    shades = [[None if one is None else math.log(one) for one in row] for row in values]
    ends = known.log().min(), known.log().max()
    grid = {
        "type": "heatmap",
        "z": shades,
        "x": levels,
        "y": methods,
        "colorscale": SHADES,
        "zmin": ends[0],
        "zmax": ends[1] if ends[1] > ends[0] else ends[0] + 1,  # type: ignore[operator]
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "customdata": [[pick(method)] * len(levels) for method in methods],
        "text": [["" if one is None else times(one) for one in row] for row in values],
        "hovertemplate": "%{y} at %{x}: %{text} dense<extra></extra>",
    }
    notes = [
        _text(level, method, value, value == best[column])
        for method, row in zip(methods, values, strict=True)
        for column, (level, value) in enumerate(zip(levels, row, strict=True))
    ]
    return drawing(
        [grid],
        axis_title(f"At least: {QUALITIES[quality]}", "ratio", table.charge.words),
        "",
        bars_height(len(methods)) + 20,
        xaxis={
            "type": "category",
            "tickangle": 0,
            "range": [-0.5, len(levels) - 0.5],
            "showgrid": False,
        },
        yaxis={
            "type": "category",
            "categoryarray": methods,
            "range": [len(methods) - 0.5, -0.5],
            "showgrid": False,
        },
        annotations=notes,
    )


def _text(level: str, method: str, value: float | None, best: bool) -> dict[str, Any]:
    place = {"x": level, "y": method, "showarrow": False}
    if value is None:
        return place | {"text": "\u2013", "font": {"size": 12, "color": BASELINE}}
    frame = {"bordercolor": INK, "borderwidth": 1.5, "borderpad": 2} if best else {}
    return place | {"text": times(value), "font": {"size": 12, "color": INK}} | frame


_CALLED = {
    "attention_mass": ("recall", "the method keeps at least this part of the attention mass"),
    "perplexity": ("perplexity", "its perplexity is at most dense attention's over this ratio"),
    "ruler_score_ratio": ("RULER score", "its score is at least this part of dense attention's"),
}


def _figure(quality: str, cost: str, order: int) -> Figure:
    called, condition = _CALLED[quality]
    measured = "results of dense attention and of another method"
    return Figure(
        name=f"{cost}_at_{called.replace(' ', '_').lower()}",
        title=f"{cost.capitalize()} at equal {called}",
        caption="A decode step over one of dense attention on the same channels, where"
        f" {condition}: interpolated between the budgets of a method, never beyond them. The"
        " best of a column is framed; a dash is a level that the method does not reach.",
        draw=partial(equal_recall, cost=cost, quality=quality),
        scope="budgets",
        needs=measured if quality == "attention_mass" else NEEDS_ACCURACY,
        group="At equal recall",
        order=order,
    )


FIGURES = tuple(
    _figure(quality, cost, -10 + 2 * place + other)
    for place, quality in enumerate(QUALITIES)
    for other, cost in enumerate(COSTS)
)
