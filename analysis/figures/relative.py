"""The headline: latency and energy of a decode step, over dense and over token-wise."""

import polars as pl

from analysis.figures import Drawing, Figure
from analysis.figures._style import (
    INK,
    MARGIN,
    axis_title,
    bars_height,
    baseline_line,
    colour,
    drawing,
    labels,
    pattern,
    picks,
)
from analysis.results.baselines import BASELINES, relative
from analysis.results.reading_order import in_order
from analysis.results.tables import Table


def against(table: Table, value: str, baseline: str) -> Drawing | None:
    """Draw `value` of every method over what `baseline` takes, as bars from zero."""
    ratios = relative(table.measured(), value, baseline, "ratio", among=table.references)
    ratios = in_order(ratios.drop_nulls("ratio").filter(pl.col("policy") != baseline))
    if ratios.is_empty():
        return None
    bars = {
        "type": "bar",
        "x": ratios["ratio"].to_list(),
        "y": labels(ratios),
        "customdata": picks(ratios),
        "orientation": "h",
        "marker": {
            "color": [colour(policy) for policy in ratios["policy"]],
            "pattern": {
                "shape": [pattern(layout) for layout in ratios["layout"]],
                "fillmode": "overlay",
                "fgcolor": "rgba(255,255,255,0.75)",
            },
            "line": {"color": INK, "width": 1},
        },
        "showlegend": False,
        "hovertemplate": "%{y}: %{x:.4g} \u00d7 " + BASELINES[baseline] + "<extra></extra>",
    }
    largest = max(1.0, *ratios["ratio"].to_list())
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "yref": "y", "showarrow": False}
    line = baseline_line(1.0, BASELINES[baseline])
    line["annotations"] += [
        beside | {"y": label, "text": f"{ratio:.2f}\u00d7"}
        for label, ratio in zip(labels(ratios), ratios["ratio"], strict=True)
    ]
    return drawing(
        [bars],
        axis_title(f"{value.capitalize()} of a decode step", f"multiple of {BASELINES[baseline]}"),
        "",
        bars_height(len(ratios)),
        xaxis={"range": [0, 1.05 * largest]},
        yaxis={"autorange": "reversed", "type": "category"},
        margin=MARGIN | {"r": 52},
        **line,
    )


def _draw(value: str, baseline: str) -> Figure:
    def draw(table: Table) -> Drawing | None:
        return against(table, value, baseline)

    return Figure(
        name=f"{value}_against_{baseline}",
        title=f"{value.capitalize()} against {BASELINES[baseline]}",
        caption=f"Attention of all shown layers of a decode step; left of the line is"
        f" better than {BASELINES[baseline]} on the same device.",
        draw=draw,
        needs=f"results of {BASELINES[baseline]} and of another method",
        group="Against the baselines",
        order={"latency": 1, "energy": 2}[value] + {"dense": 0, "topk": 2}[baseline],
    )


FIGURES = tuple(
    _draw(value, baseline) for baseline in ("dense", "topk") for value in ("latency", "energy")
)
