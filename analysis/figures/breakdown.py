"""Where time and energy go: the parts of a metric, stacked."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    axis_title,
    bars_height,
    drawing,
    labels,
    part_marker,
    picks,
)
from analysis.metrics import metric, parts_of
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table


def breakdown(table: Table, whole: str) -> Drawing | None:
    """Draw one stacked bar a method; parts that the results do not know are left out and named."""
    measured = in_order(table.measured())
    parts = [
        name
        for name, one in parts_of(whole).items()
        if table.charge.holds(one.compute.meta.root_names())
    ]
    known = [name for name in parts if measured[name].null_count() < len(measured)]
    if not known:
        return None
    totals = measured.select(pl.sum_horizontal(known).alias("sum"))["sum"]
    factor, unit = scaled(totals.to_list(), metric(known[0]).unit)
    rows, chosen = labels(measured), picks(measured)
    bars: list[dict[str, Any]] = [
        {
            "type": "bar",
            "x": (measured[name] / factor).to_list(),
            "y": rows,
            "customdata": chosen,
            "orientation": "h",
            "name": _short(name),
            "marker": part_marker(place),
            "hovertemplate": f"%{{y}}, {_short(name)}: %{{x:.4g}} {unit}<extra></extra>",
        }
        for place, name in enumerate(known)
    ]
    unknown = [_short(name) for name in parts if name not in known]
    note = {
        "text": f"not known: {', '.join(unknown)}",
        "x": 1,
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "right",
        "yanchor": "bottom",
        "showarrow": False,
    }
    return drawing(
        bars,
        axis_title(f"{metric(whole).title} of a decode step", unit, table.charge.words),
        "",
        bars_height(len(measured), legend_lines=2 + len(known) // 3),
        barmode="stack",
        yaxis={"autorange": "reversed", "type": "category"},
        annotations=[note] if unknown else [],
    )


def _short(name: str) -> str:
    return metric(name).title.rsplit(": ", 1)[-1]


FIGURES = (
    Figure(
        name="latency_by_phase",
        title="Where the time goes",
        caption="Phases of attention, and the work beside it: scoring, clustering and remapping."
        " Added over KV heads and layers as if one after another. Clustering the prompt is charged"
        " to the first step, so its share falls as more steps are decoded.",
        draw=partial(breakdown, whole="head_latency"),
        group="Where time and energy go",
        order=10,
    ),
    Figure(
        name="energy_by_part",
        title="Where the energy goes",
        caption="Parts of the energy of a decode step. A part without a published coefficient is"
        " named as not known, never drawn as zero.",
        draw=partial(breakdown, whole="energy"),
        group="Where time and energy go",
        order=11,
    ),
)
