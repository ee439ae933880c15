"""What is given up for what is gained: recall against latency, with the Pareto front."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import BASELINE, axis_title, budget_curve, drawing, lines_height
from analysis.metrics import metric
from analysis.results.baselines import relative
from analysis.results.methods import in_order
from analysis.results.tables import Table


def pareto(table: Table, name: str) -> Drawing | None:
    """Draw one point a configuration of one trace and device, budgets joined by a line."""
    points = relative(table.measured(), "latency", "dense", "cost", among=table.references)
    points = in_order(points.drop_nulls([name, "cost"]))
    if points.is_empty():
        return None
    one = metric(name)
    lines: list[dict[str, Any]] = []
    for (method,), group in points.group_by("method", maintain_order=True):
        own = group.sort("cost")
        hover = f"latency %{{x:.3f}} \u00d7 dense<br>{one.title.lower()} %{{y:.4g}}"
        lines.append(budget_curve(str(method), own, name, hover))
    front = pareto_front(points, name, one.better)
    edge = {
        "type": "scatter",
        "x": front["cost"].to_list(),
        "y": front[name].to_list(),
        "mode": "lines",
        "name": "Pareto front",
        "line": {"color": BASELINE, "width": 2, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }
    return drawing(
        [*lines, edge],
        axis_title(
            "Latency of a decode step",
            "multiple of dense",
            f"{table.charge.words}; lower is better",
        ),
        axis_title(one.title, one.unit, f"{one.better} is better"),
        lines_height(len(lines) + 1),
    )


def pareto_front(points: pl.DataFrame, name: str, better: str) -> pl.DataFrame:
    """Return the points that no other point beats in both `cost` (lower) and `name`."""
    sign = 1 if better == "higher" else -1
    ranked = points.with_columns(gain=sign * pl.col(name)).sort(
        ["cost", "gain"], descending=[False, True]
    )
    best = pl.col("gain").cum_max().shift(1)
    return ranked.filter(best.is_null() | (pl.col("gain") > best)).drop("gain")


FIGURES = tuple(
    Figure(
        name=f"pareto_{name}",
        title=f"{metric(name).title} against latency",
        caption="Up and to the left is better."
        if metric(name).better == "higher"
        else "Down and to the left is better.",
        draw=partial(pareto, name=name),
        scope="budgets",
        group="What is given up for what is gained",
        order=40 + place,
    )
    for place, name in enumerate(("attention_mass", "topk_overlap", "output_error"))
)
