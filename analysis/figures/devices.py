"""What changes on another device: every method beside dense attention, device by device."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import BASELINE, INK, MARGIN, axis_title, colour, drawing, pick
from analysis.metrics import metric
from analysis.results.baselines import COSTS, relative
from analysis.results.devices import dense_by_device, facts
from analysis.results.magnitudes import scaled, times
from analysis.results.methods import in_order
from analysis.results.tables import Table

BAR, HEAD = 20, 106
"""Pixels of a bar, and around a panel."""


def devices(table: Table, cost: str) -> Drawing | None:
    """Draw a panel a device: bars from zero, each the geometric mean over traces."""
    ratios = by_device(table, cost)
    names = ratios["hardware"].unique(maintain_order=True).to_list()
    if len(names) < 2:
        return None
    largest = max(1.0, *ratios["ratio"].to_list())
    sizes = [HEAD + BAR * len(ratios.filter(hardware=name)) for name in names]
    total = sum(sizes)
    dense, known = dense_by_device(table, cost), facts(table)
    bars, notes, axes = [], [], {}
    top = 1.0
    for place, (name, size) in enumerate(zip(names, sizes, strict=True)):
        own = ratios.filter(hardware=name)
        bottom = top - size / total
        number = "" if place == 0 else str(place + 1)
        bars.append(_bars(own, name, number))
        axes[f"yaxis{number}"] = {
            "domain": [bottom, top - HEAD / total],
            "type": "category",
            "autorange": "reversed",
            "automargin": True,
            "ticks": "",
        }
        notes.append(_title(cost, name, dense, known.get(name, []), top - HEAD / total))
        notes += [_value(row, f"y{number}") for row in own.iter_rows(named=True)]
        top = bottom
    edge: dict[str, Any] = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper"}
    edge["line"] = {"color": BASELINE, "width": 1.5, "dash": "dash"}
    first = axes.pop("yaxis")
    return drawing(
        bars,
        axis_title(
            f"{cost.capitalize()} of a decode step",
            "multiple of dense",
            f"on the same device; {table.charge.words}",
        ),
        "",
        total + 80,
        xaxis={"range": [0, 1.05 * largest], "anchor": f"y{len(names)}"},
        yaxis=first,
        margin=MARGIN | {"r": 64, "t": 8},
        shapes=[edge],
        annotations=notes,
        **axes,
    )


def by_device(table: Table, cost: str) -> pl.DataFrame:
    """Return `hardware`, `method`, `rank`, `look` and `ratio` over dense on that device.

    The geometric mean over traces, the average that does not depend on which of two devices or
    methods is the denominator (Fleming and Wallace, 1986).
    """
    ratios = relative(table.measured(), cost, "dense", "ratio", among=table.references)
    ratios = ratios.drop_nulls("ratio").filter(pl.col("policy") != "dense")
    means = ratios.group_by("hardware", "method", "rank", "look").agg(
        pl.col("ratio").log().mean().exp()
    )
    return in_order(means.sort("hardware"))


def _bars(own: pl.DataFrame, name: str, number: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": own["ratio"].to_list(),
        "y": own["method"].to_list(),
        "yaxis": f"y{number}",
        "name": name,
        "customdata": [pick(method, hardware=name) for method in own["method"]],
        "orientation": "h",
        "showlegend": False,
        "marker": {
            "color": [colour(look) for look in own["look"]],
            "line": {"color": INK, "width": 1},
        },
        "hovertemplate": f"%{{y}} on {name}: %{{x:.4g}}\u00d7 dense<extra></extra>",
    }


def _title(
    cost: str, name: str, dense: dict[str, float], known: list[str], y: float
) -> dict[str, Any]:
    text = f"<b>{name}</b>"
    if name in dense:
        factor, unit = scaled([dense[name]], metric(cost).unit)
        text += f"<br>dense {dense[name] / factor:.3g} {unit}"
        least = min(dense, key=lambda one: dense[one])
        if name != least:
            text += f"<br>{dense[name] / dense[least]:.2f}\u00d7 {least}"
    text += "".join(f"<br>{one}" for one in known)
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": y}
    look = {"showarrow": False, "align": "left", "bgcolor": "#ffffff"}
    return place | {"yanchor": "bottom", "text": text} | look


def _value(row: dict[str, Any], axis: str) -> dict[str, Any]:
    place = {"xref": "paper", "x": 1, "xanchor": "left", "yref": axis, "y": row["method"]}
    return place | {"text": times(row["ratio"]), "showarrow": False, "font": {"size": 12}}


FIGURES = tuple(
    Figure(
        name=f"{cost}_by_device",
        title=f"{cost.capitalize()} on each device",
        caption="Each method beside dense attention on the same device and channels, the geometric"
        " mean over the traces of the model. The heading of a panel says what dense attention"
        " itself takes there, how that compares with the best device, and what decides it: how fast"
        " a channel reads keys of an open row, what opening the next one takes, channels in use.",
        draw=partial(devices, cost=cost),
        scope="hardware",
        needs="results of dense attention and of another method on two devices",
        group="Device by device",
        order=76 + place,
    )
    for place, cost in enumerate(COSTS)
)
