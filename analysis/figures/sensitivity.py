"""How much of the answer is the device: the same selections on several hardware files."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import axis_title, colour, dash, drawing, lines_height, marker, pick
from analysis.metrics import metric
from analysis.results.hardware import varied_parameter
from analysis.results.magnitudes import scaled
from analysis.results.reading_order import in_order
from analysis.results.tables import Table


def sensitivity(table: Table, value: str) -> Drawing | None:
    """Draw `value` over the hardware parameter that varies, or over the hardware by name."""
    measured = in_order(table.measured().drop_nulls(value))
    machines = sorted(measured["hardware"].unique())
    if len(machines) < 2:
        return None
    varied = varied_parameter(table.runs, machines)
    title = "Hardware" if varied is None else axis_title(varied.name, varied.unit)
    places: dict[str, Any] = {name: name for name in machines} if varied is None else varied.values
    factor, unit = scaled(measured[value].to_list(), metric(value).unit)
    lines: list[dict[str, Any]] = []
    points = measured.group_by("policy", "layout", "method", "hardware", maintain_order=True).agg(
        pl.col(value).mean()
    )
    for (method,), group in points.group_by("method", maintain_order=True):
        policy, layout = group["policy"][0], group["layout"][0]
        names = sorted(group["hardware"], key=lambda name: places[name])
        amounts = dict(zip(group["hardware"], group[value], strict=True))
        lines.append(
            {
                "type": "scatter",
                "x": [places[name] for name in names],
                "y": [amounts[name] / factor for name in names],
                "customdata": [pick(str(method), policy, layout, hardware=name) for name in names],
                "name": str(method),
                "mode": "lines+markers" if varied else "markers",
                "line": {"color": colour(policy), "dash": dash(layout)},
                "marker": marker(policy, layout),
                "hovertemplate": f"{method}<br>%{{x}}: %{{y:.4g}} {unit}<extra></extra>",
            }
        )
    return drawing(
        lines,
        title,
        axis_title(f"{value.capitalize()} of a decode step", unit),
        lines_height(len(lines)),
        yaxis={"rangemode": "tozero"},
    )


FIGURES = tuple(
    Figure(
        name=f"sensitivity_{value}",
        title=f"{value.capitalize()} on each device",
        caption="The same selections on each device; dense attention is the baseline. Where the"
        " lines cross, the choice of method depends on the device.",
        draw=partial(sensitivity, value=value),
        scope="hardware",
        needs="results on two devices",
        group="Sensitivity to the hardware",
        order=80 + place,
    )
    for place, value in enumerate(("latency", "energy"))
)
