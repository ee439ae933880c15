"""How over-fetch is distributed, which a mean hides."""

import numpy as np
import plotly.graph_objects as go
import polars as pl

from analysis.figures import Figure
from analysis.figures._style import axis_title, colour, dash, in_order, styled
from analysis.metrics import metric
from analysis.tables import Table

POINTS = 101
"""Quantiles drawn of each method."""


def distribution(table: Table) -> go.Figure | None:
    """Draw the cumulative distribution of over-fetch over layers, KV heads and step windows."""
    cells = table.rows.with_columns(over_fetch=metric("over_fetch").compute).drop_nulls(
        "over_fetch"
    )
    described = in_order(table.configurations).filter(pl.col("policy") != "dense")
    quantiles = np.linspace(0, 1, POINTS)
    figure = go.Figure()
    for one in described.iter_rows(named=True):
        own = cells.filter(configuration=one["configuration"])["over_fetch"].to_numpy()
        if not len(own):
            continue
        figure.add_trace(
            go.Scatter(
                x=np.quantile(own, quantiles),
                y=quantiles,
                name=one["method"],
                mode="lines",
                line={"color": colour(one["policy"]), "dash": dash(one["policy"]), "width": 2},
                hovertemplate=one["method"]
                + ": %{y:.0%} of heads and steps read at most %{x:.3g} tokens per selected one"
                "<extra></extra>",
            )
        )
    if not figure.data:
        return None
    figure.add_vline(x=1, line={"color": "#57606a", "dash": "dash", "width": 1.5})
    return styled(
        figure,
        axis_title("Over-fetch", metric("over_fetch").unit, "dense attention is 1"),
        axis_title("Part of heads and steps", "ratio"),
        420,
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
