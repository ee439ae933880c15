"""Which method suits which device: a cell for each of both, over dense attention there."""

from functools import partial

from analysis.figures import Drawing, Figure
from analysis.figures._cells import cells
from analysis.figures._style import axis_title, bars_height, drawing, pick
from analysis.figures.devices import by_device
from analysis.results.baselines import COSTS
from analysis.results.tables import Table


def device_grid(table: Table, cost: str) -> Drawing | None:
    """Draw the map; the least multiple of each device is framed."""
    ratios = by_device(table, cost)
    devices = ratios["hardware"].unique(maintain_order=True).to_list()
    methods = ratios["method"].unique(maintain_order=True).to_list()
    if len(devices) < 2:
        return None
    known = {(row["method"], row["hardware"]): row["ratio"] for row in ratios.to_dicts()}
    values = [[known.get((method, device)) for device in devices] for method in methods]
    picks = [[pick(method, hardware=device) for device in devices] for method in methods]
    grid, notes = cells(values, devices, methods, picks)
    return drawing(
        [grid],
        axis_title(
            f"{cost.capitalize()} of a decode step", "multiple of dense", table.charge.words
        ),
        "",
        bars_height(len(methods)) + 60,
        xaxis={"type": "category", "side": "bottom", "tickangle": -30, "showgrid": False},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
        annotations=notes,
    )


FIGURES = tuple(
    Figure(
        name=f"{cost}_device_grid",
        title=f"{cost.capitalize()}: methods and devices",
        caption="Each cell is a decode step over dense attention on the same device and channels,"
        " the geometric mean over the traces of the model; the least of a device is"
        " framed. Where the frames differ, the memory decides which method is best.",
        draw=partial(device_grid, cost=cost),
        scope="hardware",
        needs="results of dense attention and of another method on two devices",
        group="Device by device",
        order=74 + place,
    )
    for place, cost in enumerate(COSTS)
)
