"""The question that a sweep answers: what does each method cost where all keep as much?"""

from functools import partial

from analysis.figures import Drawing, Figure
from analysis.figures._cells import cells
from analysis.figures._style import (
    NEEDS_ACCURACY,
    axis_title,
    bars_height,
    drawing,
    pick,
)
from analysis.results.baselines import COSTS
from analysis.results.equal_recall import LEVELS, QUALITIES, costs_at_recall
from analysis.results.tables import Table


def equal_recall(table: Table, cost: str, quality: str) -> Drawing | None:
    """Draw a table of methods and levels of quality, each cell the cost over dense attention."""
    costs = costs_at_recall(table, cost, quality)
    known = costs["ratio"].drop_nulls()
    if known.is_empty():
        return None
    methods = costs["method"].unique(maintain_order=True).to_list()
    levels = [f"{100 * level:.0f} %" for level in LEVELS]
    values: list[list[float | None]] = [
        costs.filter(method=method)["ratio"].to_list() for method in methods
    ]
    picks = [[pick(method)] * len(levels) for method in methods]
    grid, notes = cells(values, levels, methods, picks)
    return drawing(
        [grid],
        axis_title(f"At least: {QUALITIES[quality]}", "ratio", table.charge.words),
        "",
        bars_height(len(methods)) + 20,
        xaxis={
            "type": "category",
            "tickangle": 0,
            "range": [-0.5, len(levels) - 0.5],
            "showgrid": False,
        },
        yaxis={
            "type": "category",
            "categoryarray": methods,
            "range": [len(methods) - 0.5, -0.5],
            "showgrid": False,
        },
        annotations=notes,
    )


_CALLED = {
    "attention_mass": ("recall", "the method keeps at least this part of the attention mass"),
    "perplexity": ("perplexity", "its perplexity is at most dense attention's over this ratio"),
    "ruler_score_ratio": ("RULER score", "its score is at least this part of dense attention's"),
}


def _figure(quality: str, cost: str, order: int) -> Figure:
    called, condition = _CALLED[quality]
    measured = "results of dense attention and of another method"
    return Figure(
        name=f"{cost}_at_{called.replace(' ', '_').lower()}",
        title=f"{cost.capitalize()} at equal {called}",
        caption="A decode step over one of dense attention on the same channels, where"
        f" {condition}: interpolated between the budgets of a method, never beyond them. The"
        " best of a column is framed; a dash is a level that the method does not reach.",
        draw=partial(equal_recall, cost=cost, quality=quality),
        scope="budgets",
        needs=measured if quality == "attention_mass" else NEEDS_ACCURACY,
        group="At equal recall",
        order=order,
    )


FIGURES = tuple(
    _figure(quality, cost, -10 + 2 * place + other)
    for place, quality in enumerate(QUALITIES)
    for other, cost in enumerate(COSTS)
)
