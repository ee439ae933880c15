"""How latency follows the length of the context and the budget."""

from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    axis_title,
    drawing,
    line,
    lines_height,
    marker,
    pick_step,
    picks,
)
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table

POINTS = 200
"""Most points of a line: neighbouring windows are averaged beyond it."""


def against_context(table: Table) -> Drawing | None:
    """Draw the latency of a decode step over the tokens in the cache."""
    windows = table.measured("window", only=("latency",)).drop_nulls("latency")
    if windows["window"].max() != 0:
        windows = windows.filter(pl.col("window") > 0)
    count = windows.select("trace", "window").n_unique()
    bucket = max(1, -(-count // POINTS))
    lines = in_order(
        windows.group_by("method", "rank", "look", "trace", pl.col("window") // bucket)
        .agg(pl.col("visible_tokens", "latency").mean(), pl.col("first_step").min())
        .sort("visible_tokens")
    )
    steps = [
        pick_step(row["method"], row["first_step"]) | {"trace": row["trace"]}
        for row in lines.iter_rows(named=True)
    ]
    lines = lines.with_columns(pick=pl.Series(steps, dtype=pl.Object))
    return _lines(lines, "visible_tokens", "Tokens in the cache", "tokens", table.charge.words)


def against_budget(table: Table) -> Drawing | None:
    """Draw the latency of a decode step over the budget; dense attention has none."""
    measured = in_order(table.measured().drop_nulls(["latency", "budget_tokens"]))
    sparse = measured.filter(pl.col("policy") != "dense")
    if sparse["budget_tokens"].n_unique() < 2:
        return None
    lines = measured.group_by("method", "rank", "look", "budget_tokens", maintain_order=True)
    means = lines.agg(pl.col("latency").mean()).sort("budget_tokens")
    return _lines(
        means.with_columns(pick=pl.Series(picks(means), dtype=pl.Object)),
        "budget_tokens",
        "Budget of a query head",
        "tokens",
        table.charge.words,
    )


def _lines(frame: pl.DataFrame, x: str, x_title: str, x_unit: str, note: str) -> Drawing | None:
    if frame.is_empty():
        return None
    factor, unit = scaled(frame["latency"].to_list(), "ns")
    lines: list[dict[str, Any]] = []
    for (method,), group in in_order(frame).group_by("method", maintain_order=True):
        look, own = group["look"][0], group.sort(x)
        lines.append(
            {
                "type": "scatter",
                "x": own[x].to_list(),
                "y": (own["latency"] / factor).to_list(),
                "customdata": own["pick"].to_list(),
                "name": str(method),
                "mode": "lines+markers",
                "line": line(look),
                "marker": marker(look) | {"maxdisplayed": 12},
                "hovertemplate": f"{method}<br>%{{x:.0f}} {x_unit}: %{{y:.4g}} {unit}"
                "<extra></extra>",
            }
        )
    return drawing(
        lines,
        axis_title(x_title, x_unit),
        axis_title("Latency of a decode step", unit, note),
        lines_height(len(lines)),
        yaxis={"rangemode": "tozero"},
    )


FIGURES = (
    Figure(
        name="latency_by_context",
        title="Latency against context length",
        caption="Each line is a method, over the steps of all traces of the model but the first,"
        " which is charged with work on the prompt; dense attention grows with every token. A click"
        " on a point shows its step up close.",
        draw=against_context,
        scope="contexts",
        group="Context and budget",
        order=50,
    ),
    Figure(
        name="latency_by_budget",
        title="Latency against budget",
        caption="What a larger budget costs; dense attention reads everything at any budget.",
        draw=against_budget,
        needs="results at two budgets",
        scope="budgets",
        group="Context and budget",
        order=51,
    ),
)
