"""Where in the model: one cell per layer and KV head, one small map per method, on one scale."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import SCALE, axis_title, colour_bar, drawing
from analysis.metrics import metric
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table

COLUMNS = 3
"""Maps side by side: what fits a narrow page."""

HEAD, GAP_RATIO = 24, 0.06
"""Pixels of a map's title, and the part of the width between two maps."""


def grid(table: Table, name: str) -> Drawing | None:
    """Draw a metric's mean over steps for each (layer, KV head) of every method."""
    cells = table.measured("layer", "kv_head").drop_nulls(name)
    if cells.is_empty():
        return None
    one = metric(name)
    factor, unit = scaled(cells[name].to_list(), one.unit)
    low, high = float(cells[name].min()) / factor, float(cells[name].max()) / factor  # type: ignore[arg-type]
    heads = sorted(cells["kv_head"].unique())
    layers = sorted(cells["layer"].unique())
    own = in_order(cells).partition_by("method", maintain_order=True)
    rows = -(-len(own) // COLUMNS)
    height = HEAD + min(24 * max(3, len(layers)), 220)
    maps: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    titles = []
    titled = (rows - 1) * COLUMNS  # the map at the lower left, whose axes have the titles
    for place, frame in enumerate(own):
        number = "" if place == titled else str((place or titled) + 1)
        left, bottom, width, top = _panel(place, rows, height)
        values = frame.group_by("layer", "kv_head").agg(pl.col(name).mean())
        known = {(layer, head): value / factor for layer, head, value in values.iter_rows()}
        maps.append(
            {
                "type": "heatmap",
                "name": frame["method"][0],
                "meta": {
                    "pick": {"method": frame["method"][0]},
                    "x": ["heads", "kv_head"],
                    "y": ["layers", "layer"],
                },
                "z": [[known.get((layer, head)) for head in heads] for layer in layers],
                "x": [f"{head}" for head in heads],
                "y": [f"{layer}" for layer in layers],
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "coloraxis": "coloraxis",
                "hovertemplate": f"{frame['method'][0]}, layer %{{y}}, KV head %{{x}}: %{{z:.4g}}"
                f" {unit}<extra></extra>",
            }
        )
        first, last = place % COLUMNS == 0, place + COLUMNS >= len(own)
        axis = {"type": "category", "ticks": "", "tickangle": 0, "automargin": True}
        layout[f"xaxis{number}"] = axis | {
            "domain": [left, left + width],
            "anchor": f"y{number}",
            "showticklabels": last,
        }
        layout[f"yaxis{number}"] = axis | {
            "domain": [bottom, top],
            "anchor": f"x{number}",
            "autorange": "reversed",
            "showticklabels": first,
        }
        titles.append(_title(frame["method"][0], left, top))
    xaxis, yaxis = layout.pop("xaxis"), layout.pop("yaxis")
    return drawing(
        maps,
        axis_title("KV head", "index"),
        axis_title("Layer", "index"),
        rows * height + 130,
        xaxis=xaxis,
        yaxis=yaxis,
        coloraxis={
            "colorscale": SCALE,
            "cmin": low,
            "cmax": high if high > low else low + 1,
            "colorbar": colour_bar(unit),
        },
        annotations=titles,
        **layout,
    )


def _panel(place: int, rows: int, height: int) -> tuple[float, float, float, float]:
    """Return left, bottom, width and top of a map, in parts of the figure."""
    row, column = divmod(place, COLUMNS)
    width = (1 - GAP_RATIO * (COLUMNS - 1)) / COLUMNS
    bottom = 1 - (row + 1) / rows
    return column * (width + GAP_RATIO), bottom, width, bottom + (1 - HEAD / height) / rows


def _title(method: str, left: float, top: float) -> dict[str, Any]:
    place = {"xref": "paper", "x": left, "xanchor": "left", "yref": "paper", "y": top}
    return place | {
        "yanchor": "bottom",
        "text": method,
        "showarrow": False,
        "font": {"size": 12},
    }


_TITLES = {"head_latency": "Busy time of a KV head"}
"""A cell is one KV head: nothing is summed over them."""

FIGURES = tuple(
    Figure(
        name=f"grid_{name}",
        title=f"{_TITLES.get(name, metric(name).title)}, layer by layer",
        caption="One cell per layer and KV head, mean over decode steps; all methods on one scale.",
        draw=partial(grid, name=name),
        group="Layer by layer",
        order=70 + place,
        marks=True,
    )
    for place, name in enumerate(("head_latency", "attention_mass", "over_fetch", "output_error"))
)
