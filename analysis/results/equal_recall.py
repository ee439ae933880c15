"""What a method costs where it keeps as much of the attention as another: cost at equal recall."""

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from analysis.results.accuracy import mean_over_tasks
from analysis.results.baselines import relative
from analysis.results.tables import Table

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""How much of dense attention's quality is kept at least."""

QUALITIES = {
    "attention_mass": "attention mass kept",
    "perplexity": "perplexity of dense attention, over that with the method",
    "ruler_score_ratio": "RULER score, over that of dense attention",
}
"""What can be held equal, each 1 where it is as good as dense attention."""


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


def costs_at_recall(table: Table, cost: str, quality: str = "attention_mass") -> pl.DataFrame:
    """Return `method`, `rank`, `look`, `level` and `ratio`, the cost over that of dense attention.

    Over all budgets of one trace and device, `table` holding no other; null where a method does
    not reach the level. Dense attention is left out: it keeps everything at a ratio of 1.

    Args:
        table: Under the charge that is asked about.
        cost: `latency` or `energy`.
        quality: One of `QUALITIES`.
    """
    measured = relative(table.measured(), cost, "dense", "ratio", among=table.references)
    measured = measured.filter(pl.col("policy") != "dense")
    measured = _with_kept(measured, table, quality).drop_nulls(["ratio", "kept"])
    rows = []
    for key, own in measured.sort("rank").group_by("method", "rank", "look", maintain_order=True):
        points = list(own.select("kept", "ratio").iter_rows())
        rows += [(*key, level, cost_at(points, level)) for level in LEVELS]
    schema = {
        "method": pl.String,
        "rank": pl.Int32,
        "look": pl.Int32,
        "level": pl.Float64,
        "ratio": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _with_kept(measured: pl.DataFrame, table: Table, quality: str) -> pl.DataFrame:
    """Add the column `kept`: how much of dense attention's quality each row keeps, 1 is all."""
    if quality == "attention_mass":
        return measured.with_columns(kept=pl.col("attention_mass"))
    found = mean_over_tasks(table, quality)
    dense = found.filter(policy="dense")["value"]
    reference = dense[0] if len(dense) else None
    value = pl.col("value")
    if not reference:
        return measured.with_columns(kept=pl.lit(None, dtype=pl.Float64))
    kept = reference / value if quality == "perplexity" else value / reference
    found = found.with_columns(kept=kept)
    keys = ["policy", "policy_parameters", "budget"]
    return measured.join(found.select(*keys, "kept"), on=keys, how="left", maintain_order="left")
