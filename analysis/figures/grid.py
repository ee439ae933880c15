"""Where in the model: one cell per layer and KV head."""

from functools import partial

import plotly.graph_objects as go

from analysis.figures import Figure
from analysis.figures._menu import choice
from analysis.figures._style import SCALE, axis_title, in_order, scaled, styled
from analysis.metrics import metric
from analysis.tables import Table


def grid(table: Table, name: str) -> go.Figure | None:
    """Draw a metric's mean over steps for each (layer, KV head), one method at a time."""
    cells = table.measured("layer", "kv_head").drop_nulls(name)
    if cells.is_empty():
        return None
    one = metric(name)
    factor, unit = scaled(cells[name].to_list(), one.unit)
    low, high = float(cells[name].min()) / factor, float(cells[name].max()) / factor  # type: ignore[arg-type]
    heads = sorted(cells["kv_head"].unique())
    maps: dict[str, go.Heatmap] = {}
    for described in in_order(table.configurations).iter_rows(named=True):
        own = cells.filter(configuration=described["configuration"])
        if own.is_empty():
            continue
        square = own.pivot(on="kv_head", index="layer", values=name).sort("layer")
        maps[described["method"]] = go.Heatmap(
            z=square.select(str(head) for head in heads).to_numpy() / factor,
            x=[f"{head}" for head in heads],
            y=[f"{layer}" for layer in square["layer"]],
            colorscale=SCALE,
            zmin=low,
            zmax=high if high > low else low + 1,
            colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
            hovertemplate="layer %{y}, KV head %{x}: %{z:.4g} " + unit + "<extra></extra>",
        )
    figure = choice(maps)
    return figure and styled(
        figure,
        axis_title("KV head", "index"),
        axis_title("Layer", "index"),
        150 + 24 * max(6, cells["layer"].n_unique()),
        xaxis={"type": "category"},
        yaxis={"type": "category", "autorange": "reversed"},
    )


FIGURES = tuple(
    Figure(
        name=f"grid_{name}",
        title=f"{metric(name).title}, layer by layer",
        caption="One cell per layer and KV head, mean over decode steps; choose the method in"
        " the menu.",
        draw=partial(grid, name=name),
        group="Layer by layer",
        order=70 + place,
    )
    for place, name in enumerate(("head_latency", "attention_mass", "over_fetch", "output_error"))
)
