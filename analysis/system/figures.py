"""Figures of whole systems: parts of a step, rates over length and batch, attention's share."""

from collections.abc import Callable, Sequence
from typing import Any

from analysis.figures import Drawing
from analysis.figures._style import (
    BASELINE,
    axis_title,
    bars_height,
    colour,
    drawing,
    lines_height,
    part_marker,
    symbol,
)
from analysis.report.web import Placed
from analysis.results.methods import look_of
from analysis.system.points import Point, Points

MATTERS_RATIO = 0.1
"""Share of a step below which attention is said not to matter: without it a step is 11% faster."""


def placed(points: Points) -> list[Placed]:
    """Return every figure in order of presentation."""
    asked = points.question
    decode = f"{asked.prompt_tokens:,} tokens in, {asked.output_tokens:,} out, batch {asked.batch}"
    length, batch = "Tokens generated", "Sequences decoded together"
    return [
        Placed(
            "time-of-a-token",
            "Where the time of a decode step goes",
            f"Means over the steps of a decode: {decode}. Work that is hidden behind other work"
            " is in no part.",
            breakdown(points.alone, "time_ms", "Time of a step", "ms"),
        ),
        Placed(
            "energy-of-a-token",
            "Where the energy of a decode step goes",
            f"The same decode: {decode}, all sequences of the batch together.",
            breakdown(points.alone, "energy_mj", "Energy of a step", "mJ"),
        ),
        Placed(
            "rate-over-length",
            "Tokens per second over the tokens generated",
            f"Whole decodes of that length, batch {asked.batch}.",
            curves(points.lengths, _output, _rate, length, "Tokens per second", "tokens/s"),
        ),
        Placed(
            "energy-over-length",
            "Energy of a token over the tokens generated",
            f"Whole decodes of that length, batch {asked.batch}.",
            curves(points.lengths, _output, _energy, length, "Energy of a token", "J"),
        ),
        Placed(
            "rate-over-batch",
            "Tokens per second over the batch",
            f"{asked.output_tokens:,} tokens out; a line ends where the memory is full.",
            curves(points.batches, _batch, _rate, batch, "Tokens per second", "tokens/s"),
        ),
        Placed(
            "energy-over-batch",
            "Energy of a token over the batch",
            f"{asked.output_tokens:,} tokens out; weights are read once for all sequences.",
            curves(points.batches, _batch, _energy, batch, "Energy of a token", "J"),
        ),
        Placed(
            "attention-over-length",
            "Where attention stops mattering",
            "Attention's part of a step's time, clustering included. Below the dashed line even"
            f" attention that cost nothing would make a step {_gain(MATTERS_RATIO):.0%} faster at"
            " most.",
            share(points.lengths),
        ),
    ]


def breakdown(points: Sequence[Point], part: str, title: str, unit: str) -> Drawing:
    """Draw one stacked bar a system."""
    names = list(dict.fromkeys(name for one in points for name in one.found[part]))
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [one.found[part].get(name, 0.0) for one in points],
            "y": [one.system for one in points],
            "name": name.replace("_", " "),
            "marker": part_marker(place),
            "hovertemplate": f"%{{y}}, {name.replace('_', ' ')}: %{{x:.4g}} {unit}<extra></extra>",
        }
        for place, name in enumerate(names)
    ]
    return drawing(
        bars,
        axis_title(title, unit),
        "",
        bars_height(len(points), legend_lines=2 + len(names) // 3),
        barmode="stack",
        yaxis={"autorange": "reversed", "type": "category"},
    )


def curves(
    points: Sequence[Point],
    along: Callable[[Point], int],
    value: Callable[[Point], float],
    title: str,
    called: str,
    unit: str,
) -> Drawing:
    """Draw one line a system; both axes are logarithmic."""
    return drawing(
        _lines(points, along, value, f"%{{x:,}}: %{{y:.4g}} {unit}"),
        axis_title(title, "number"),
        axis_title(called, unit),
        lines_height(len({one.system for one in points})),
        xaxis={"type": "log", "tickvals": sorted({along(one) for one in points})},
        yaxis={"type": "log"},
    )


def share(points: Sequence[Point]) -> Drawing:
    """Draw attention's part of a step's time."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": MATTERS_RATIO}
    dashed = {"color": BASELINE, "width": 1.5, "dash": "dash"}
    return drawing(
        _lines(points, _output, lambda one: one.attention_ratio, "%{x:,} tokens: %{y:.1%}"),
        axis_title("Tokens generated", "number"),
        axis_title("Attention's part of a step", "ratio"),
        lines_height(len({one.system for one in points})),
        xaxis={"type": "log", "tickvals": sorted({_output(one) for one in points})},
        yaxis={"range": [0, 1], "tickformat": ".0%"},
        shapes=[line | {"y1": MATTERS_RATIO, "line": dashed}],
    )


def _lines(
    points: Sequence[Point],
    along: Callable[[Point], int],
    value: Callable[[Point], float],
    hover: str,
) -> list[dict[str, Any]]:
    found = []
    for place, name in enumerate(dict.fromkeys(one.system for one in points)):
        own = [one for one in points if one.system == name]
        # the GPUs' line is that of no method
        paint = BASELINE if place == 0 else colour(look_of(own[0].policy))
        look = look_of(own[0].policy) + (1 if place == 0 else 0)
        found.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [along(one) for one in own],
                "y": [value(one) for one in own],
                "line": {"color": paint, "width": 2, "dash": "dash" if place == 0 else "solid"},
                "marker": {"symbol": symbol(look), "color": paint, "size": 9},
                "hovertemplate": f"{name}<br>{hover}<extra></extra>",
            }
        )
    return found


def _gain(ratio: float) -> float:
    return 1 / (1 - ratio) - 1


def _output(one: Point) -> int:
    return one.output_tokens


def _batch(one: Point) -> int:
    return one.batch


def _rate(one: Point) -> float:
    return one.tokens_per_s


def _energy(one: Point) -> float:
    return one.energy_j_per_token
