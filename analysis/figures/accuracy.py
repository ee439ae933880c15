"""What decides: accuracy of the model with a policy inside against what a decode step costs."""

from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    BASELINE,
    NEEDS_ACCURACY,
    axis_title,
    budget_curve,
    drawing,
    lines_height,
)
from analysis.figures.pareto import pareto_front
from analysis.results.accuracy import mean_over_tasks
from analysis.results.baselines import relative
from analysis.results.methods import in_order
from analysis.results.tables import Table

_TITLES = {
    "perplexity": ("Perplexity", "per token", "lower"),
    "ruler_score_ratio": ("RULER score", "share of expected strings", "higher"),
}


def against(table: Table, measure: str, cost: str) -> Drawing | None:
    """Draw a curve a method over its budgets, of one trace and device, and dense as a line."""
    measured = mean_over_tasks(table, measure)
    points = relative(table.measured(), cost, "dense", "cost", among=table.references)
    keys = ["policy", "policy_parameters", "budget"]
    points = in_order(points.drop_nulls("cost").join(measured, on=keys))
    dense = measured.filter(pl.col("policy") == "dense")
    if points.is_empty() or dense.is_empty():
        return None
    title, unit, better = _TITLES[measure]
    lines: list[dict[str, Any]] = []
    for (method,), group in points.group_by("method", maintain_order=True):
        own = group.sort("cost")
        up = (own["high"] - own["value"]).to_list()
        down = (own["value"] - own["low"]).to_list()
        hover = f"{cost} %{{x:.3f}} \u00d7 dense<br>{title.lower()} %{{y:.4g}}"
        bars = {"type": "data", "array": up, "arrayminus": down, "thickness": 1}
        lines.append(budget_curve(str(method), own, "value", hover) | {"error_y": bars})
    reference = float(dense["value"][0])
    front = pareto_front(points, "value", better)
    lines.append(
        {
            "type": "scatter",
            "x": front["cost"].to_list(),
            "y": front["value"].to_list(),
            "mode": "lines",
            "name": "Pareto front",
            "line": {"color": BASELINE, "width": 2, "dash": "dot", "shape": "hv"},
            "hoverinfo": "skip",
        }
    )
    edge = {"color": BASELINE, "width": 1.5, "dash": "dash"}
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": reference, "y1": reference}
    note = {"xref": "paper", "x": 1, "xanchor": "right", "y": reference, "yanchor": "bottom"}
    return drawing(
        lines,
        axis_title(
            f"{cost.capitalize()} of a decode step",
            "multiple of dense",
            f"{table.charge.words}; lower is better",
        ),
        axis_title(title, unit, f"{better} is better"),
        lines_height(len(lines)),
        shapes=[{"type": "line", "line": edge, **ends}],
        annotations=[note | {"text": "dense", "showarrow": False}],
    )


def _figure(measure: str, cost: str, order: int) -> Figure:
    title, _, better = _TITLES[measure]

    def draw(table: Table) -> Drawing | None:
        return against(table, measure, cost)

    corner = "up" if better == "higher" else "down"
    return Figure(
        name=f"{measure.removesuffix('_ratio')}_against_{cost}",
        title=f"{title} against {cost}",
        caption=f"The model with the policy inside every layer, mean over the tasks measured;"
        f" {corner} and to the left is better.",
        draw=draw,
        scope="budgets",
        needs=NEEDS_ACCURACY,
        group="What is given up for what is gained",
        order=order,
    )


FIGURES = tuple(
    _figure(measure, cost, 36 + 2 * place + other)
    for place, measure in enumerate(_TITLES)
    for other, cost in enumerate(("latency", "energy"))
)
