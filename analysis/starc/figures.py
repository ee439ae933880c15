"""Figures of the reproduction: curves over the context, reductions beside the claims, over-fetch.

Pure functions from a study to drawings, as `analysis.figures` has them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures import Drawing
from analysis.figures._style import BASELINE, INK, axis_title, colour, drawing, symbol
from analysis.report.web import Placed
from analysis.results.methods import look_of
from analysis.starc.claims import CLAIMS, Claim, Quantity, reduction, smoothed
from analysis.starc.shapes import SHAPES, Shape
from analysis.starc.study import BUDGET_TOKENS, Series, Study

POINTS = 320
"""Most points of a line: neighbouring steps are averaged beyond it."""
_LOG_TICKS = [digit * 10**power for power in range(-2, 6) for digit in (1, 2, 5)]
_DASHES = {"gpt": "dot", "llama": "solid", "mistral": "dash"}


def placed(study: Study) -> list[Placed]:
    """Return every figure that the study has data for, in order of presentation."""
    found = [
        Placed(
            f"latency-{shape.name}",
            f"Latency of one attention layer, {shape.title}",
            "Each point is the mean of neighbouring steps, the band their least and greatest."
            " The vertical axis is logarithmic.",
            latency(study, shape),
        )
        for shape in SHAPES
    ]
    has_starc = any(series.method == "starc" for series in study.series)
    has_sparq = any(series.method == "sparq" for series in study.series)
    quantities: tuple[Quantity, ...] = ("latency", "energy")
    for quantity in quantities:
        if has_starc:
            found.append(
                Placed(
                    f"{quantity}-below-full",
                    f"STARC's {quantity} below full attention, with what was published",
                    "The grey band is the range of the paper's first version, the dashed line the"
                    " ASPLOS version's `up to`. The curves are single steps, smoothed.",
                    against(study, quantity, "full"),
                )
            )
        if has_starc and has_sparq:
            found.append(
                Placed(
                    f"{quantity}-below-sparq",
                    f"STARC's {quantity} below token-wise selection (SparQ), with what was"
                    " published",
                    "SparQ is the only token-wise method that the artefact has tables of.",
                    against(study, quantity, "token-wise"),
                )
            )
    found.append(
        Placed(
            "over-fetch",
            "Tokens fetched for a budget of 1,024",
            "16 x the block rows that a step's tokens touch, over all steps: quartiles, and"
            " whiskers to the least and greatest. The dashed line is the budget.",
            overfetch(study),
        )
    )
    return found


def latency(study: Study, shape: Shape) -> Drawing:
    """Draw the latency of each method over the context."""
    data: list[dict[str, Any]] = []
    for series in study.series:
        if series.shape != shape:
            continue
        x, mean, low, high = buckets(series.context, series.latency_ns / 1000)
        paint = colour(_look(series))
        if series.method not in ("full", "quest"):
            data.append(_band(x, low, high, paint))
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": series.label,
                "x": x,
                "y": mean,
                "line": {"color": paint, "width": 2},
                "marker": {
                    "symbol": symbol(_look(series)),
                    "color": paint,
                    "size": 8,
                    "maxdisplayed": 8,
                },
                "hovertemplate": f"{series.label}<br>%{{x:.0f}} tokens: %{{y:.4g}} µs"
                "<extra></extra>",
            }
        )
    return drawing(
        data,
        axis_title("Tokens in the cache", "tokens"),
        axis_title("Latency of a layer", "µs"),
        400,
        yaxis={"type": "log", "tickvals": _LOG_TICKS},
    )


def against(study: Study, quantity: Quantity, versus: str) -> Drawing:
    """Draw STARC's reduction over the context beside the claims."""
    claims = [one for one in CLAIMS if one.quantity == quantity and one.versus == versus]
    ways = (
        [("latency", "latency")]
        if quantity == "latency"
        else [("artefact_energy", "as the artefact counts"), ("energy", "by counted events")]
    )
    data: list[dict[str, Any]] = []
    for shape in SHAPES:
        starc = study.of(shape, "starc")
        other = study.of(shape, "full" if versus == "full" else "sparq")
        if starc is None or other is None:
            continue
        for name, words in ways:
            curve = reduction(starc, other, name)
            if curve is None:
                continue
            x, mean, _, _ = buckets(starc.context[: len(curve)], 100 * smoothed(curve))
            paint = colour(look_of("starc" if name != "energy" else "topk"))
            label = shape.title if quantity == "latency" else f"{shape.title}, {words}"
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": label,
                    "x": x,
                    "y": mean,
                    "line": {"color": paint, "width": 2, "dash": _DASHES[shape.name]},
                    "hovertemplate": f"{label}<br>%{{x:.0f}} tokens: %{{y:.1f}} % less"
                    "<extra></extra>",
                }
            )
    return drawing(
        data,
        axis_title("Tokens in the cache", "tokens"),
        axis_title("Reduction by STARC", "%"),
        400,
        yaxis={"range": [0, 100]},
        **_claim_marks(claims),
    )


def overfetch(study: Study) -> Drawing:
    """Draw the spread of effective tokens of each table."""
    data: list[dict[str, Any]] = []
    for series in reversed(study.series):
        if series.tokens is None:
            continue
        low, first, middle, third, high = np.percentile(series.tokens, [0, 25, 50, 75, 100])
        data.append(
            {
                "type": "box",
                "name": f"{series.shape.title}, {series.label}",
                "y": [f"{series.shape.title}, {series.label}"],
                "q1": [float(first)],
                "median": [float(middle)],
                "q3": [float(third)],
                "lowerfence": [float(low)],
                "upperfence": [float(high)],
                "mean": [float(series.tokens.mean())],
                "orientation": "h",
                "marker": {"color": colour(_look(series))},
                "line": {"color": INK, "width": 1},
                "fillcolor": colour(_look(series)),
                "showlegend": False,
            }
        )
    line = {"type": "line", "x0": BUDGET_TOKENS, "x1": BUDGET_TOKENS, "y0": 0, "y1": 1}
    return drawing(
        data,
        axis_title("Tokens fetched in a step", "tokens"),
        "",
        140 + 36 * max(2, len(data)),
        xaxis={"rangemode": "tozero"},
        shapes=[line | {"yref": "paper", "line": {"color": BASELINE, "dash": "dash"}}],
    )


def buckets(
    x: NDArray[np.int64], values: NDArray[np.float64], points: int = POINTS
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Average neighbours down to `points`: x, means, least and greatest of each bucket."""
    starts = np.unique(np.linspace(0, len(x), min(points, len(x)) + 1).astype(np.int64)[:-1])
    counts = np.diff([*starts.tolist(), len(x)])
    mean = np.add.reduceat(values, starts) / counts
    where = np.add.reduceat(x, starts) / counts
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return (
        [round(float(one), 1) for one in where],
        [_short(one) for one in mean],
        [_short(one) for one in low],
        [_short(one) for one in high],
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _look(series: Series) -> int:
    return look_of("dense" if series.method == "full" else series.method)


def _band(x: list[float], low: list[float], high: list[float], paint: str) -> dict[str, Any]:
    red, green, blue = (int(paint[place : place + 2], 16) for place in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.18)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _claim_marks(claims: list[Claim]) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for claim in claims:
        y = 100 * claim.high_ratio
        common = {"xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
        if claim.low_ratio is None:
            line = {"color": BASELINE, "width": 1.5, "dash": "dash"}
            shapes.append(common | {"type": "line", "y0": y, "y1": y, "line": line})
        else:
            shapes.append(
                common
                | {
                    "type": "rect",
                    "y0": 100 * claim.low_ratio,
                    "y1": y,
                    "fillcolor": "#d8dee4",
                    "line": {"width": 0},
                }
            )
        notes.append(
            {
                "xref": "paper",
                "x": 0 if claim.low_ratio is None else 1,
                "xanchor": "left" if claim.low_ratio is None else "right",
                "y": y,
                "yanchor": "bottom" if claim.low_ratio is None else "top",
                "text": f"{claim.version.split(' ')[0]}: {claim.text}",
                "showarrow": False,
                "font": {"size": 12, "color": BASELINE},
            }
        )
    return {"shapes": shapes, "annotations": notes}
