"""A table drawn as a map: each cell says its multiple of dense, the best of a column is framed."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.figures._style import BASELINE, INK
from analysis.results.magnitudes import times

SHADES = [[0, "#fdfaf0"], [1, "#dcb94e"]]
"""From cheap to dear; light enough to read dark numbers on."""

Ratios = Sequence[Sequence[float | None]]
"""By row, then by column; None: not known."""


def cells(
    values: Ratios, columns: Sequence[str], rows: Sequence[str], picks: Sequence[Sequence[Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the map of multiples with what a click on each cell chooses, and its numbers."""
    known = [math.log(one) for row in values for one in row if one is not None]
    low, high = min(known), max(known)
    grid = {
        "type": "heatmap",
        # a method can cost a hundred times another: colours follow the logarithm
        "z": [[None if one is None else math.log(one) for one in row] for row in values],
        "x": list(columns),
        "y": list(rows),
        "colorscale": SHADES,
        "zmin": low,
        "zmax": high if high > low else low + 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "customdata": [list(row) for row in picks],
        "text": [["" if one is None else times(one) for one in row] for row in values],
        "hovertemplate": "%{y}, %{x}: %{text} dense<extra></extra>",
    }
    best = [
        min((one for one in column if one is not None), default=None)
        for column in zip(*values, strict=True)
    ]
    notes = [
        _note(column, row, value, value == least)
        for row, own in zip(rows, values, strict=True)
        for column, value, least in zip(columns, own, best, strict=True)
    ]
    return grid, notes


def _note(column: str, row: str, value: float | None, best: bool) -> dict[str, Any]:
    place = {"x": column, "y": row, "showarrow": False}
    if value is None:
        return place | {"text": "\u2013", "font": {"size": 12, "color": BASELINE}}
    frame = {"bordercolor": INK, "borderwidth": 1.5, "borderpad": 2} if best else {}
    return place | {"text": times(value), "font": {"size": 12, "color": INK}} | frame
