"""How the methods compare, and how much that differs between layers and KV heads."""

from functools import partial
from typing import Any

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    INK,
    axis_title,
    bars_height,
    baseline_line,
    colour,
    drawing,
    picks,
    symbol,
    told,
)
from analysis.metrics import Metric, metric, whole_metrics
from analysis.results.magnitudes import scaled
from analysis.results.methods import in_order
from analysis.results.tables import Table, value_columns

_QUANTILES = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}


def comparison(table: Table, name: str) -> Drawing | None:
    """Draw one box a method: the values of its (layer, KV head) pairs, and their mean."""
    spread = spreads(table).drop_nulls(f"{name}_mean")
    if spread.is_empty():
        return None
    one = metric(name)
    note = f" {table.charge.words};" if one.charged else ""
    factor, unit = scaled(spread[f"{name}_high"].to_list(), one.unit)
    rows = spread.to_dicts()
    boxes: list[dict[str, Any]] = [
        {
            "type": "box",
            "y": [row["method"]],
            "q1": [row[f"{name}_q1"] / factor],
            "median": [row[f"{name}_median"] / factor],
            "q3": [row[f"{name}_q3"] / factor],
            "lowerfence": [row[f"{name}_low"] / factor],
            "upperfence": [row[f"{name}_high"] / factor],
            "orientation": "h",
            "meta": {"pick": chosen},
            "name": row["method"],
            "fillcolor": colour(row["look"]),
            "line": {"color": INK if row["policy"] != "dense" else "#6e7781", "width": 1.2},
            "showlegend": False,
            "hoverinfo": "x+name",
        }
        for row, chosen in zip(rows, picks(spread), strict=True)
    ]
    means = {
        "type": "scatter",
        "x": [row[f"{name}_mean"] / factor for row in rows],
        "y": [row["method"] for row in rows],
        "customdata": picks(spread),
        "mode": "markers",
        "name": "mean",
        "showlegend": False,
        "marker": {
            "symbol": [symbol(row["look"]) for row in rows],
            "size": 9,
            "color": "#ffffff",
            "line": {"color": INK, "width": 1.5},
        },
        "text": [told(row["full"]) for row in rows],
        "hovertemplate": "%{y}: mean %{x:.4g} " + unit + "<br>%{text}<extra></extra>",
    }
    dense = next((row[f"{name}_mean"] / factor for row in rows if row["policy"] == "dense"), None)
    return drawing(
        [*boxes, means],
        axis_title(one.title, unit, f"{_basis(one)};{note} {one.better} is better"),
        "",
        bars_height(len(rows)),
        yaxis={"autorange": "reversed", "type": "category"},
        **baseline_line(dense, "dense"),
    )


def _basis(one: Metric) -> str:
    """Return of what a value is: some quantities are known of a layer as a whole only."""
    known = value_columns()
    of_layers = {*known.layer_amounts, *known.layer_ratios, "charged_latency_ns"}
    whole = of_layers.issuperset(one.compute.meta.root_names())
    return "per layer" if whole else "per layer and KV head"


def spreads(table: Table) -> pl.DataFrame:
    """Return mean and quantiles over (layer, KV head), one row a method.

    Columns `<metric>_mean`, `_low` (5 %), `_q1`, `_median`, `_q3`, `_high` (95 %) for each metric
    that tables show; null where a metric is not known.
    """
    return table.remembered("spreads", _spreads)


def _spreads(table: Table) -> pl.DataFrame:
    quantiles = [
        pl.col(name).quantile(q, "linear").alias(f"{name}_{key}")
        for name in whole_metrics()
        for key, q in _QUANTILES.items()
    ]
    means = [pl.col(name).mean().alias(f"{name}_mean") for name in whole_metrics()]
    return in_order(
        table.measured("layer", "kv_head")
        .group_by("policy", "method", "full", "rank", "look", maintain_order=True)
        .agg(*quantiles, *means)
    )


FIGURES = tuple(
    Figure(
        name=f"comparison_{name}",
        title=f"{one.title}: spread over layers and KV heads",
        caption=f"{one.source} Each box spans the middle half of the layers and KV heads, its"
        " whiskers 90 % of them, the marker is their mean. The dashed line is dense attention.",
        draw=partial(comparison, name=name),
        needs=f"results that hold it, and they do not know {one.title.lower()}",
        order=20 + place,
    )
    for place, (name, one) in enumerate(whole_metrics().items())
)
