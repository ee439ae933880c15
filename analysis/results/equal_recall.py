"""What a method costs where it keeps as much of the attention as another: cost at equal recall."""

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from analysis.results.baselines import relative
from analysis.results.tables import Table

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""Fractions of the attention mass."""


def cost_at(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """Return the least cost at which a curve reaches `level`; None where it never does.

    Between neighbouring points the curve is a straight line; beyond the first and the last there
    is none. A point above the level counts with its own cost: it keeps at least as much.

    Args:
        points: (recall, cost) of a method at its budgets, in any order.
        level: Least recall.
    """
    ordered = sorted(points)
    found = [cost for recall, cost in ordered if recall >= level]
    for (low, low_cost), (high, high_cost) in pairwise(ordered):
        if low < level < high:
            found.append(low_cost + (high_cost - low_cost) * (level - low) / (high - low))
    return min(found, default=None)


def costs_at_recall(table: Table, cost: str) -> pl.DataFrame:
    """Return `method`, `rank`, `look`, `level` and `ratio`, the cost over that of dense attention.

    Over all budgets of one trace and device, `table` holding no other; null where a method does
    not reach the level. Dense attention is left out: it keeps everything at a ratio of 1.
    """
    measured = relative(table.measured(), cost, "dense", "ratio", among=table.references)
    measured = measured.filter(pl.col("policy") != "dense").drop_nulls(["ratio", "attention_mass"])
    rows = []
    for key, own in measured.sort("rank").group_by("method", "rank", "look", maintain_order=True):
        points = list(own.select("attention_mass", "ratio").iter_rows())
        rows += [(*key, level, cost_at(points, level)) for level in LEVELS]
    schema = {
        "method": pl.String,
        "rank": pl.Int32,
        "look": pl.Int32,
        "level": pl.Float64,
        "ratio": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
