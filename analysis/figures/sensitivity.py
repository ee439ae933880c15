"""How a cost follows one number of the device: a what-if over one hardware parameter."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import axis_title, drawing, line, lines_height, marker, pick
from analysis.metrics import metric
from analysis.results.hardware import varied_parameter
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table


def sensitivity(table: Table, value: str) -> Drawing | None:
    """Draw `value` over the one hardware parameter in which the devices differ."""
    measured = in_order(table.measured().drop_nulls(value))
    machines = sorted(measured["hardware"].unique())
    if len(machines) < 2:
        return None
    varied = varied_parameter(table.runs, machines)
    if varied is None:
        return None
    places = varied.values
    factor, unit = scaled(measured[value].to_list(), metric(value).unit)
    lines: list[dict[str, Any]] = []
    points = measured.group_by("method", "rank", "look", "hardware", maintain_order=True).agg(
        pl.col(value).mean()
    )
    for (method,), group in points.group_by("method", maintain_order=True):
        look = group["look"][0]
        names = sorted(group["hardware"], key=lambda name: places[name])
        amounts = dict(zip(group["hardware"], group[value], strict=True))
        lines.append(
            {
                "type": "scatter",
                "x": [places[name] for name in names],
                "y": [amounts[name] / factor for name in names],
                "customdata": [pick(str(method), hardware=name) for name in names],
                "name": str(method),
                "mode": "lines+markers",
                "line": line(look),
                "marker": marker(look),
                "hovertemplate": f"{method}<br>%{{x}}: %{{y:.4g}} {unit}<extra></extra>",
            }
        )
    return drawing(
        lines,
        axis_title(varied.name, varied.unit),
        axis_title(f"{value.capitalize()} of a decode step", unit, table.charge.words),
        lines_height(len(lines)),
        yaxis={"rangemode": "tozero"},
    )


FIGURES = tuple(
    Figure(
        name=f"sensitivity_{value}",
        title=f"{value.capitalize()} over the parameter that varies",
        caption="The same selections on devices that differ in one number; where lines cross, the"
        " choice of method depends on it.",
        draw=partial(sensitivity, value=value),
        scope="hardware",
        needs="results on devices that differ in one number",
        group="Device by device",
        order=80 + place,
    )
    for place, value in enumerate(("latency", "energy"))
)
