"""One look for all figures: colours that everyone can tell apart, units on axes, quiet grids.

The colours of methods were searched for: the least distance of two of them in CIE Lab is 41, and
21 as people see them who lack one of the three kinds of cones; the tests compute both. A colour
never stands alone: markers and dashes repeat what it says, and fills have a dark outline.
"""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import polars as pl

from analysis.figures import Drawing

INK = "#1f2328"
GRID = "#e4e7eb"
BASELINE = "#57606a"

COLOURS = (
    "#000000",
    "#000fff",
    "#5ac3f0",
    "#b4c300",
    "#ff003c",
    "#4b2d69",
    "#961e4b",
    "#5a2d00",
    "#9696ff",
    "#ff4bb4",
    "#f0a5a5",
    "#5a782d",
    "#c300f0",
    "#3c0096",
)
"""Of methods, by their look; the first is dense attention."""

SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x"),
    *("triangle-down", "pentagon", "bowtie", "hourglass", "star-diamond"),
)
"""As many as have no divisor in common with the colours: beyond 14 methods, colour and marker
together are still unlike all others."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

PARTS = (
    *("#c3cfda", "#8d9fae", "#5d6f7e", "#e4ddd0", "#b7ab97", "#867a66", "#37424b"),
    *("#d5e6da", "#96b39f", "#587361"),
)
"""Greys of the parts of a stack: no method has one of them."""

PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")

MARGIN = {"l": 8, "r": 16, "t": 44, "b": 8}
"""Pixels around a plot; axes add what their labels need."""

SCALE = "Cividis"
"""Colour scale of heat maps: reads the same with every kind of colour vision."""


NEEDS_ACCURACY = "an accuracy folder of the same model (`--accuracy`)"
"""What figures of a model's answers lack where nobody measured them."""


def colour(look: int) -> str:
    """Return the colour of a method."""
    return COLOURS[look % len(COLOURS)]


def symbol(look: int) -> str:
    """Return the marker of a method."""
    return SYMBOLS[look % len(SYMBOLS)]


def line(look: int, width: float = 2) -> dict[str, Any]:
    """Return the line of a method."""
    return {"color": colour(look), "dash": DASHES[look % len(DASHES)], "width": width}


def marker(look: int, size: int = 10) -> dict[str, Any]:
    """Return the marker of a point of a method."""
    edge = {"color": INK, "width": 1}
    return {"symbol": symbol(look), "size": size, "color": colour(look), "line": edge}


def part_marker(place: int) -> dict[str, Any]:
    """Return the look of a part in stacked bars: a colour, and a pattern without colours."""
    pattern = {
        "shape": PATTERNS[place % len(PATTERNS)],
        "fillmode": "overlay",
        "fgcolor": "rgba(31,35,40,0.45)",
        "size": 7,
    }
    edge = {"color": INK, "width": 0.8}
    return {"color": PARTS[place % len(PARTS)], "pattern": pattern, "line": edge}


def pick(method: str, **others: Any) -> dict[str, Any]:
    """Return what a click on a mark chooses: controls of the dashboard with their values.

    Dense attention is only named: it is the baseline, and stays whatever is kept.
    """
    kept = {} if method.split(maxsplit=1)[0] == "dense" else {"methods": method}
    return {"method": method, **kept, **others}


INSPECTOR = "Step inspector"
"""View of the dashboard that shows one step up close."""


def pick_step(method: str, step: int) -> dict[str, Any]:
    """Return what a click on one step of a method chooses: the inspector, opened there."""
    return {"method": method, "step": step, "view": INSPECTOR}


def picks(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what a click on the mark of each row chooses."""
    return [pick(method) for method in frame["method"]]


def told(full: str) -> str:
    """Return a method's full name as it is read in a hover: on lines of a bearable width."""
    return "<br>".join(wrap(full, 48))


def budget_curve(method: str, own: pl.DataFrame, value: str, hover: str) -> dict[str, Any]:
    """Return one method's points over its budgets, joined by a line: `value` against `cost`."""
    look, full = own["look"][0], told(own["full"][0])
    return {
        "type": "scatter",
        "x": own["cost"].to_list(),
        "y": own[value].to_list(),
        "customdata": [pick(method, budget=budget) for budget in own["budget"]],
        "mode": "lines+markers",
        "name": method,
        "line": line(look, width=1),
        "marker": marker(look, size=11),
        "text": [f"budget {budget}" for budget in own["budget"]],
        "hovertemplate": f"{full}<br>%{{text}}<br>{hover}<extra></extra>",
    }


def axis_title(title: str, unit: str, note: str = "") -> str:
    """Return an axis title: the quantity, its unit, a note; on lines that fit a narrow page."""
    lines = wrap(f"{title} ({unit})", 30)
    return "<br>".join([*lines, *(part.strip() for part in note.split(";") if part)])


def drawing(
    data: list[dict[str, Any]],
    x: str,
    y: str,
    height: int,
    xaxis: dict[str, Any] | None = None,
    yaxis: dict[str, Any] | None = None,
    **layout: Any,
) -> Drawing:
    """Return a figure with the common look; `x` and `y` are axis titles with units."""
    axis = {
        "automargin": True,
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": GRID,
        "ticks": "",
    }
    small = {"size": 12}
    common = {
        "font": {
            "family": "system-ui, Segoe UI, Helvetica, Arial, sans-serif",
            "size": 13,
            "color": INK,
        },
        "height": height,
        "margin": MARGIN,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hoverlabel": {"align": "left"},
        "legend": {
            "orientation": "h",
            "xref": "container",
            "yref": "container",
            "yanchor": "bottom",
            "y": 0,
            "x": 0,
            "traceorder": "normal",
            "font": {"size": 12},
        },
        "xaxis": axis | {"title": {"text": x, "standoff": 8, "font": small}} | (xaxis or {}),
        "yaxis": axis | {"title": {"text": y, "standoff": 8, "font": small}} | (yaxis or {}),
    }
    return Drawing(data, common | layout)


def lines_height(entries: int) -> int:
    """Return the height of a chart with so many legend entries, below one another on a phone."""
    return 300 + 20 * max(4, entries)


MAP_PIXELS = 480
"""Most pixels of a map's cells, however many there are."""


def map_height(rows: int) -> int:
    """Return the height of a map with so many rows."""
    return 130 + min(24 * max(6, rows), MAP_PIXELS)


def colour_bar(text: str) -> dict[str, Any]:
    """Return the scale beside a map; the space after its numbers keeps the title off them."""
    return {
        "title": {"text": text, "side": "right", "font": {"size": 12}},
        "thickness": 12,
        "ticksuffix": "\u2002",
    }


def bars_height(rows: int, legend_lines: int = 0) -> int:
    """Return the height of a chart with one horizontal bar or box a row."""
    return 140 + 32 * max(rows, 2) + 22 * legend_lines


def baseline_line(value: float | None, text: str) -> dict[str, Any]:
    """Return the layout that marks a named baseline on the x axis; empty without a value."""
    if value is None:
        return {}
    dashed = {"color": BASELINE, "width": 1.5, "dash": "dash"}
    shape = {"type": "line", "x0": value, "x1": value, "y0": 0, "y1": 1, "yref": "paper"}
    note = {
        "x": value,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"size": 12, "color": BASELINE},
    }
    return {"shapes": [shape | {"line": dashed}], "annotations": [note]}


def labels(frame: pl.DataFrame) -> Sequence[str]:
    """Return the method labels of a frame as a list."""
    return [str(one) for one in frame["method"].to_list()]
