"""Where time and energy go: phases and parts, stacked, with overheads apart."""

from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    INK,
    PARTS,
    PATTERNS,
    axis_title,
    bars_height,
    drawing,
    in_order,
    labels,
    scaled,
)
from analysis.metrics import metric
from analysis.tables import Table

_STACKS = {
    "ns": (
        ("latency_score", "latency_softmax", "latency_context", "latency_move"),
        ("overhead_scoring", "overhead_clustering", "overhead_remap"),
    ),
    "pJ": (
        (
            "energy_activation",
            "energy_cell",
            "energy_movement",
            "energy_mac",
            "energy_softmax",
            "energy_background",
            "energy_refresh",
        ),
        ("overhead_energy",),
    ),
}


def breakdown(table: Table, unit: str) -> Drawing | None:
    """Draw one stacked bar a method; parts that the results do not know are left out and named."""
    measured = in_order(table.measured())
    own, overheads = _STACKS[unit]
    known = [name for name in (*own, *overheads) if measured[name].null_count() < len(measured)]
    if not any(name in own for name in known):
        return None
    totals = measured.select(pl.sum_horizontal(known).alias("sum"))["sum"]
    factor, shown_unit = scaled(totals.to_list(), unit)
    rows = labels(measured)
    bars: list[dict[str, Any]] = []
    for place, name in enumerate(known):
        apart = name in overheads
        bars.append(
            {
                "type": "bar",
                "x": (measured[name] / factor).to_list(),
                "y": rows,
                "orientation": "h",
                "name": _short(name),
                "marker": {
                    "color": "#d0d7de" if apart else PARTS[place % len(PARTS)],
                    "pattern": {
                        "shape": PATTERNS[1 + overheads.index(name)] if apart else "",
                        "fgcolor": INK,
                    },
                    "line": {"color": INK, "width": 0.8},
                },
                "hovertemplate": f"%{{y}}, {_short(name)}: %{{x:.4g}} {shown_unit}<extra></extra>",
            }
        )
    unknown = [_short(name) for name in (*own, *overheads) if name not in known]
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
    title = "Time, summed over KV heads" if unit == "ns" else "Energy of a decode step"
    return drawing(
        bars,
        axis_title(title, shown_unit),
        "",
        bars_height(len(measured), legend_lines=4),
        barmode="stack",
        yaxis={"autorange": "reversed", "type": "category"},
        annotations=[note] if unknown else [],
    )


def _short(name: str) -> str:
    kind, part = name.split("_", 1)
    if name == "overhead_energy":
        return "overheads"
    return f"{part} (overhead)" if kind == "overhead" else metric(name).title.rsplit(": ", 1)[-1]


FIGURES = (
    Figure(
        name="latency_by_phase",
        title="Where the time goes",
        caption="Phases of the attention of a decode step, added over KV heads and layers as if"
        " one after another; hatched parts are overheads beside the attention.",
        draw=lambda table: breakdown(table, "ns"),
        group="Where time and energy go",
        order=10,
    ),
    Figure(
        name="energy_by_part",
        title="Where the energy goes",
        caption="Parts of the attention energy of a decode step; hatched parts are overheads. A"
        " part without a published coefficient is named as not known, never drawn as zero.",
        draw=lambda table: breakdown(table, "pJ"),
        group="Where time and energy go",
        order=11,
    ),
)
