"""What a step costs on average after so many steps: work on the prompt is paid off by decoding."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import axis_title, drawing, line, lines_height, marker, pick_step
from analysis.metrics import metric
from analysis.results.baselines import COSTS
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table

POINTS = 40
"""Most points of a line, evenly spaced on its logarithmic axis."""

LOGARITHMIC = {"type": "log", "dtick": "D2", "exponentformat": "power"}


def amortised(table: Table, cost: str) -> Drawing | None:
    """Draw the mean cost of the steps so far over their number, one line a method."""
    means = running_means(table, cost)
    if means.is_empty():
        return None
    factor, unit = scaled(means["mean"].to_list(), metric(cost).unit)
    lines: list[dict[str, Any]] = []
    for own in means.partition_by("method", maintain_order=True):
        method, look = own["method"][0], own["look"][0]
        kept = np.unique(np.geomspace(1, len(own), POINTS).round().astype(int)) - 1
        shown = own[kept.tolist()]
        lines.append(
            {
                "type": "scatter",
                "x": shown["decoded"].to_list(),
                "y": (shown["mean"] / factor).to_list(),
                "name": method,
                "customdata": [pick_step(method, step) for step in shown["first_step"]],
                "mode": "lines+markers",
                "line": line(look),
                "marker": marker(look, size=8) | {"maxdisplayed": 8},
                "hovertemplate": f"{method}<br>mean of %{{x}} steps: %{{y:.4g}} {unit}"
                "<extra></extra>",
            }
        )
    return drawing(
        lines,
        axis_title("Decoded tokens", "tokens"),
        axis_title(f"{cost.capitalize()}, mean of the steps so far", unit, table.charge.words),
        lines_height(len(lines)),
        xaxis=LOGARITHMIC,
        yaxis=LOGARITHMIC,
    )


def running_means(table: Table, cost: str) -> pl.DataFrame:
    """Return `method`, `rank`, `look`, `decoded` tokens and the `mean` cost of a step so far."""
    windows = table.measured("window", only=(cost,)).drop_nulls(cost).sort("rank", "window")
    own = ("configuration", "method", "rank", "look")
    return in_order(
        windows.select(
            *own,
            "first_step",
            decoded=pl.col("steps").cum_sum().over("configuration"),
            mean=(pl.col(cost) * pl.col("steps")).cum_sum().over("configuration")
            / pl.col("steps").cum_sum().over("configuration"),
        )
    )


FIGURES = tuple(
    Figure(
        name=f"{cost}_amortised",
        title=f"{cost.capitalize()} a step, over the tokens decoded",
        caption="The mean of all steps up to this one. Work on the prompt, such as clustering it,"
        " is charged to the first step; a line that falls is still paying it off. Both axes are"
        " logarithmic. A click on a point shows its step up close.",
        draw=partial(amortised, cost=cost),
        group="Context and budget",
        order=48 + place,
    )
    for place, cost in enumerate(COSTS)
)
