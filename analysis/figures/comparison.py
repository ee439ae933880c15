"""How the methods compare, and how much that differs between layers and KV heads."""

from functools import partial

import plotly.graph_objects as go
import polars as pl

from analysis.figures import Figure
from analysis.figures._style import (
    INK,
    axis_title,
    bars_height,
    baseline_line,
    colour,
    in_order,
    labels,
    scaled,
    styled,
    symbol,
)
from analysis.metrics import metric
from analysis.tables import Table

_QUANTILES = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}


def comparison(table: Table, name: str) -> go.Figure | None:
    """Draw one box a method: the values of its (layer, KV head) pairs, and their mean."""
    spread = spreads(table, name)
    if spread.is_empty():
        return None
    one = metric(name)
    factor, unit = scaled(spread["high"].to_list(), one.unit)
    figure = go.Figure()
    for row in spread.iter_rows(named=True):
        box = {key: [row[key] / factor] for key in _QUANTILES}
        figure.add_trace(
            go.Box(
                y=[row["method"]],
                q1=box["q1"],
                median=box["median"],
                q3=box["q3"],
                lowerfence=box["low"],
                upperfence=box["high"],
                orientation="h",
                name=row["method"],
                fillcolor=colour(row["policy"]),
                line={"color": INK if row["policy"] != "dense" else "#6e7781", "width": 1.2},
                showlegend=False,
                hoverinfo="x+name",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=(spread["mean"] / factor).to_list(),
            y=labels(spread),
            mode="markers",
            name="mean",
            showlegend=False,
            marker={
                "symbol": [symbol(policy) for policy in spread["policy"]],
                "size": 9,
                "color": "#ffffff",
                "line": {"color": INK, "width": 1.5},
            },
            hovertemplate="%{y}: mean %{x:.4g} " + unit + "<extra></extra>",
        )
    )
    dense = spread.filter(policy="dense")
    if len(dense):
        baseline_line(figure, dense["mean"][0] / factor, "dense")
    return styled(
        figure,
        axis_title(one.title, unit, f"per layer and KV head; {one.better} is better"),
        "",
        bars_height(len(spread)),
        yaxis={"autorange": "reversed", "type": "category"},
    )


def spreads(table: Table, name: str) -> pl.DataFrame:
    """Return mean and quantiles over (layer, KV head) of a metric, one row a method."""
    quantiles = [pl.col(name).quantile(q, "linear").alias(key) for key, q in _QUANTILES.items()]
    return in_order(
        table.measured("layer", "kv_head")
        .drop_nulls(name)
        .group_by("policy", "layout", "method", maintain_order=True)
        .agg(*quantiles, mean=pl.col(name).mean())
    )


_SHOWN = {
    "latency": "Each box spans the middle half of the layers, its whiskers 90 % of them, the"
    " marker is their mean. The dashed line is dense attention.",
    "energy": "The same for energy, per layer and KV head; overheads are apart.",
    "over_fetch": "Blocks are read whole: how many tokens the banks read for each one selected.",
    "row_activations": "Tokens scattered over rows cost activations, in time and in energy.",
    "lane_utilisation": "Part of the lanes of the blocks read that hold a selected token.",
    "attention_mass": "Softmax weight of exact attention that the selected tokens carry.",
    "topk_overlap": "Part of the exact top-scoring tokens that were selected.",
    "output_error": "How far the attention output moves, relative to exact attention.",
    "balance_lanes": "The busiest lane of a layer against the mean lane: 1 is even.",
}

FIGURES = tuple(
    Figure(
        name=f"comparison_{name}",
        title=metric(name).title,
        caption=caption,
        draw=partial(comparison, name=name),
        order=20 + place,
    )
    for place, (name, caption) in enumerate(_SHOWN.items())
)
