"""Which method suits which device: a cell for each of both, over dense attention there."""

from functools import partial

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import MARGIN, SCALE, colour_bar, drawing
from analysis.figures.devices import by_device
from analysis.results.baselines import COSTS
from analysis.results.magnitudes import times
from analysis.results.tables import Table


def device_grid(table: Table, cost: str) -> Drawing | None:
    """Draw the map; the least multiple of each device has a star."""
    ratios = by_device(table, cost)
    devices = ratios["hardware"].unique(maintain_order=True).to_list()
    methods = ratios["method"].unique(maintain_order=True).to_list()
    if len(devices) < 2:
        return None
    known = {(row["method"], row["hardware"]): row["ratio"] for row in ratios.to_dicts()}
    least = dict(ratios.group_by("hardware").agg(pl.col("ratio").min()).iter_rows())
    cells = [[known.get((method, device)) for device in devices] for method in methods]
    heat = {
        "type": "heatmap",
        "z": cells,
        "x": devices,
        "y": methods,
        "text": [
            [_told(value, least[device]) for value, device in zip(row, devices, strict=True)]
            for row in cells
        ],
        "texttemplate": "%{text}",
        "textfont": {"size": 12},
        "colorscale": SCALE,
        "zmin": 0,
        "zmax": max(1.0, *(value for value in known.values())),
        "colorbar": colour_bar(f"{cost}, multiple of dense"),
        "hovertemplate": "%{y} on %{x}: %{z:.4g}\u00d7 dense<extra></extra>",
    }
    return drawing(
        [heat],
        "",
        "",
        150 + 26 * max(4, len(methods)),
        xaxis={"type": "category", "side": "top", "tickangle": -30},
        yaxis={"type": "category", "autorange": "reversed"},
        margin=MARGIN | {"t": 8},
    )


def _told(value: float | None, least: float) -> str:
    """Return a multiple as text, the least of a device starred."""
    if value is None:
        return ""
    return times(value) + (" \u2605" if value == least else "")


FIGURES = tuple(
    Figure(
        name=f"{cost}_device_grid",
        title=f"{cost.capitalize()}: methods and devices",
        caption="Each cell is a decode step over dense attention on the same device and channels,"
        " the geometric mean over the traces of the model; a star marks the method that takes the"
        " least on a device. Where the stars differ, the memory decides which method is best.",
        draw=partial(device_grid, cost=cost),
        scope="hardware",
        needs="results of dense attention and of another method on two devices",
        group="Device by device",
        order=74 + place,
    )
    for place, cost in enumerate(COSTS)
)
