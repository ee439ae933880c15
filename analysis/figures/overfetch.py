"""How over-fetch is distributed, which a mean hides."""

import numpy as np
import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    axis_title,
    baseline_line,
    drawing,
    line,
    lines_height,
    marker,
    pick,
)
from analysis.metrics import metric
from analysis.results.methods import in_order
from analysis.results.tables import Table

POINTS = 101
"""Quantiles drawn of each method."""


def distribution(table: Table) -> Drawing | None:
    """Draw the cumulative distribution of over-fetch over layers, KV heads and step windows."""
    described = in_order(table.configurations).filter(pl.col("policy") != "dense")
    quantiles = np.linspace(0, 1, POINTS)
    values = (
        table.rows.with_columns(over_fetch=metric("over_fetch").compute)
        .drop_nulls("over_fetch")
        .group_by("configuration")
        .agg(pl.col("over_fetch").quantile(q, "linear").alias(f"{q:.3f}") for q in quantiles)
    )
    lines = [
        {
            "type": "scatter",
            "x": [row[f"{quantile:.3f}"] for quantile in quantiles],
            "y": quantiles.tolist(),
            "name": row["method"],
            "meta": {"pick": pick(row["method"])},
            "mode": "lines+markers",
            "line": line(row["look"]),
            "marker": marker(row["look"], size=8) | {"maxdisplayed": 6},
            "hovertemplate": "%{fullData.name}: %{y:.0%} of (KV head, step) pairs read at most"
            " %{x:.3g} tokens per selected one<extra></extra>",
        }
        for row in described.join(
            values, on="configuration", how="inner", maintain_order="left"
        ).iter_rows(named=True)
    ]
    if not lines:
        return None
    return drawing(
        lines,
        axis_title("Over-fetch", metric("over_fetch").unit, "dense attention is 1"),
        axis_title("Fraction of (KV head, step) pairs", "ratio"),
        lines_height(len(lines)),
        **baseline_line(1.0, "dense"),
    )


FIGURES = (
    Figure(
        name="over_fetch_distribution",
        title="Distribution of over-fetch",
        caption="A steep line is a method that reads about the same at every layer, KV head and"
        " step; a line to the left reads less beside what it needs.",
        draw=distribution,
        order=30,
    ),
)
