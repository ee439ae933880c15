"""One look for all figures: fixed colour-blind-safe colours, units on axes, quiet grids.

Colours are the palettes of Okabe and Ito (Color Universal Design, 2008) and, beyond eight, of
Paul Tol (SRON technical note 09-002). A colour never stands alone: symbols, dashes and patterns
repeat what it says, and fills have a dark outline.
"""

import zlib
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import polars as pl

from analysis.figures import Drawing
from analysis.results.reading_order import POLICIES

INK = "#1f2328"
GRID = "#e4e7eb"
BASELINE = "#57606a"

_COLOURS = dict(
    zip(
        POLICIES,
        (
            "#000000",  # dense
            "#0072B2",  # topk
            "#56B4E9",  # sparq
            "#E69F00",  # quest
            "#D55E00",  # starc
            "#009E73",  # streaming_llm
            "#F0E442",  # h2o
            "#CC79A7",  # snapkv
            "#332288",  # clusterkv
            "#882255",  # retroinfer
            "#999933",  # pqcache
            "#44AA99",  # magicpig
        ),
        strict=True,
    )
)
_SPARE = ("#AA4499", "#117733", "#88CCEE", "#DDCC77", "#CC6677", "#777777")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x")
_OPEN = ("", "-open", "-open-dot", "-dot")
_LAYOUTS = {"sequential": 0, "clustered": 1, "clustered_aligned": 2, "random": 3}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")

PARTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999933", "#882255")
"""Colours of the parts of a stack: no method's meaning is attached to them."""

MARGIN = {"l": 8, "r": 16, "t": 44, "b": 8}
"""Pixels around a plot; axes add what their labels need."""

SCALE = "Cividis"
"""Colour scale of heat maps: reads the same with every kind of colour vision."""


def colour(policy: str) -> str:
    """Return the colour of a policy: the same in every figure, also for one never seen before."""
    return _COLOURS.get(policy) or _SPARE[zlib.crc32(policy.encode()) % len(_SPARE)]


def symbol(policy: str, layout: str = "sequential") -> str:
    """Return the marker: its shape says the policy, filled or open says the layout."""
    return _SYMBOLS[_place(policy) % len(_SYMBOLS)] + _OPEN[_layout_place(layout) % len(_OPEN)]


def dash(layout: str) -> str:
    """Return the line style of a layout: solid for the sequential one."""
    return _DASHES[_layout_place(layout) % len(_DASHES)]


def pattern(layout: str) -> str:
    """Return the fill pattern of a layout: plain for the sequential one."""
    return PATTERNS[_layout_place(layout) % len(PATTERNS)]


def marker(policy: str, layout: str, size: int = 10) -> dict[str, Any]:
    """Return the marker of a point; an open one is drawn in the policy's colour."""
    shape = symbol(policy, layout)
    edge = colour(policy) if "open" in shape else INK
    width = 2.5 if "open" in shape else 1
    return {
        "symbol": shape,
        "size": size,
        "color": colour(policy),
        "line": {"color": edge, "width": width},
    }


def pick(method: str, policy: str, layout: str, **others: Any) -> dict[str, Any]:
    """Return what a click on a mark chooses: controls of the dashboard with their values.

    Dense attention is only named: it is the baseline, and stays whatever is kept.
    """
    kept = {} if policy == "dense" else {"policy": policy, "layout": layout}
    return {"method": method, **kept, **others}


def picks(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what a click on the mark of each row chooses."""
    return [pick(*row) for row in frame.select("method", "policy", "layout").iter_rows()]


def budget_curve(method: str, own: pl.DataFrame, value: str, hover: str) -> dict[str, Any]:
    """Return one method's points over its budgets, joined by a line: `value` against `cost`."""
    policy, layout = own["policy"][0], own["layout"][0]
    return {
        "type": "scatter",
        "x": own["cost"].to_list(),
        "y": own[value].to_list(),
        "customdata": [pick(method, policy, layout, budget=budget) for budget in own["budget"]],
        "mode": "lines+markers",
        "name": method,
        "line": {"color": colour(policy), "width": 1, "dash": dash(layout)},
        "marker": marker(policy, layout, size=11),
        "text": [f"budget {budget}" for budget in own["budget"]],
        "hovertemplate": f"{method}<br>%{{text}}<br>{hover}<extra></extra>",
    }


def _layout_place(layout: str) -> int:
    known = _LAYOUTS.get(layout.partition(":")[0])
    return 4 + zlib.crc32(layout.encode()) if known is None or ":" in layout else known


def _place(policy: str) -> int:
    return POLICIES.index(policy) if policy in POLICIES else zlib.crc32(policy.encode())


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


def map_height(rows: int) -> int:
    """Return the height of a map with so many rows."""
    return 130 + 24 * max(6, rows)


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
    line = {"color": BASELINE, "width": 1.5, "dash": "dash"}
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
    return {"shapes": [shape | {"line": line}], "annotations": [note]}


def labels(frame: pl.DataFrame) -> Sequence[str]:
    """Return the method labels of a frame as a list."""
    return [str(one) for one in frame["method"].to_list()]
