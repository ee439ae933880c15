"""Where in the model: one cell per layer and KV head."""

from functools import partial
from typing import Any

from analysis.figures import Drawing, Figure
from analysis.figures._menu import choice
from analysis.figures._style import SCALE, axis_title, colour_bar, drawing, map_height
from analysis.metrics import metric
from analysis.results.magnitudes import scaled
from analysis.results.reading_order import in_order
from analysis.results.tables import Table


def grid(table: Table, name: str) -> Drawing | None:
    """Draw a metric's mean over steps for each (layer, KV head), one method at a time."""
    cells = table.measured("layer", "kv_head").drop_nulls(name)
    if cells.is_empty():
        return None
    one = metric(name)
    factor, unit = scaled(cells[name].to_list(), one.unit)
    low, high = float(cells[name].min()) / factor, float(cells[name].max()) / factor  # type: ignore[arg-type]
    heads = sorted(cells["kv_head"].unique())
    layers = sorted(cells["layer"].unique())
    maps: dict[str, dict[str, Any]] = {}
    by_configuration = cells.select("configuration", "layer", "kv_head", name).partition_by(
        "configuration", as_dict=True
    )
    for described in in_order(table.configurations).iter_rows(named=True):
        own = by_configuration.get((described["configuration"],))
        if own is None:
            continue
        values = {(layer, head): value / factor for _, layer, head, value in own.iter_rows()}
        maps[described["method"]] = {
            "type": "heatmap",
            "meta": {"x": ["heads", "kv_head"], "y": ["layers", "layer"]},
            "z": [[values.get((layer, head)) for head in heads] for layer in layers],
            "x": [f"{head}" for head in heads],
            "y": [f"{layer}" for layer in layers],
            "colorscale": SCALE,
            "zmin": low,
            "zmax": high if high > low else low + 1,
            "colorbar": colour_bar(unit),
            "hovertemplate": "layer %{y}, KV head %{x}: %{z:.4g} " + unit + "<extra></extra>",
        }
    data, menu = choice(maps)
    return drawing(
        data,
        axis_title("KV head", "index"),
        axis_title("Layer", "index"),
        map_height(len(layers)),
        xaxis={"type": "category", "tickangle": 0},
        yaxis={"type": "category", "autorange": "reversed"},
        **menu,
    )


_TITLES = {"head_latency": "Latency of a KV head"}
"""A cell is one KV head: nothing is summed over them."""

FIGURES = tuple(
    Figure(
        name=f"grid_{name}",
        title=f"{_TITLES.get(name, metric(name).title)}, layer by layer",
        caption="One cell per layer and KV head, mean over decode steps, one method at a time on"
        " one scale.",
        draw=partial(grid, name=name),
        group="Layer by layer",
        order=70 + place,
    )
    for place, name in enumerate(("head_latency", "attention_mass", "over_fetch", "output_error"))
)
