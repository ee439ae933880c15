"""The headline: latency and energy of a decode step, over dense and over token-wise."""

from functools import partial

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
    picks,
    told,
)
from analysis.results.baselines import BASELINES, COSTS, relative
from analysis.results.magnitudes import times
from analysis.results.methods import in_order
from analysis.results.tables import Table

_WORDS = {"dense": "dense attention", "topk": "exact top-k"}


def against(table: Table, value: str, baseline: str) -> Drawing | None:
    """Draw `value` of every method over what `baseline` takes, as bars from zero."""
    ratios = relative(table.measured(), value, baseline, "ratio", among=table.references)
    ratios = in_order(ratios.drop_nulls("ratio").filter(pl.col("policy") != baseline))
    if ratios.is_empty():
        return None
    called = BASELINES[baseline]
    bars = {
        "type": "bar",
        "x": ratios["ratio"].to_list(),
        "y": labels(ratios),
        "customdata": picks(ratios),
        "text": [
            f"{baseline}<br>{told(full)}"
            for baseline, full in ratios.select("ratio_baseline", "full").iter_rows()
        ],
        "textposition": "none",
        "orientation": "h",
        "marker": {
            "color": [colour(look) for look in ratios["look"]],
            "line": {"color": INK, "width": 1},
        },
        "showlegend": False,
        "hovertemplate": "%{y}: %{x:.4g} \u00d7 %{text}<extra></extra>",
    }
    largest = max(1.0, *ratios["ratio"].to_list())
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "yref": "y", "showarrow": False}
    line = baseline_line(1.0, called)
    line["annotations"] += [
        beside | {"y": label, "text": times(ratio)}
        for label, ratio in zip(labels(ratios), ratios["ratio"], strict=True)
    ]
    title = f"{value.capitalize()} of a decode step"
    return drawing(
        [bars],
        axis_title(title, f"multiple of {called}", table.charge.words),
        "",
        bars_height(len(ratios)),
        xaxis={"range": [0, 1.05 * largest]},
        yaxis={"autorange": "reversed", "type": "category"},
        margin=MARGIN | {"r": 58},
        **line,
    )


FIGURES = tuple(
    Figure(
        name=f"{value}_against_{baseline}",
        title=f"{value.capitalize()} against {words}",
        caption=f"A decode step, all shown layers; left of the line is better than {words} on the"
        " same device, trace and channels.",
        draw=partial(against, value=value, baseline=baseline),
        needs=f"results of {words} and of another method on the same channels",
        group="Against the baselines",
        order=1 + place,
    )
    for place, (baseline, value, words) in enumerate(
        (baseline, value, words) for baseline, words in _WORDS.items() for value in COSTS
    )
)
