"""What the step that is inspected cost, as the results hold it: a timeline and the counts."""

from typing import Any

from dash import html

from analysis.figures import Drawing
from analysis.figures._style import INK, PARTS, axis_title, drawing
from analysis.results.magnitudes import scaled
from pimreplay.cost.energy_parts import ENERGY_PARTS
from pimreplay.results.schema import PHASES

COUNTS = {
    "key_rows": "Rows of keys opened",
    "value_rows": "Rows of values opened",
    "activations": "Row activations, in banks",
    "mac_commands": "MAC commands",
    "move_commands": "Data-movement commands",
    "remapped_tokens": "Tokens rewritten",
    "clustered_tokens": "Tokens clustered",
}
BEFORE, AFTER = ("clustering", "scoring"), ("remap",)
"""Overheads before and after attention, in the order in which they are charged."""


IN_TURN = (*(f"{name}_ns" for name in BEFORE), *PHASES, *(f"{name}_ns" for name in AFTER))


def total_ns(costs: dict[str, Any]) -> float:
    """Return the end of the timeline."""
    return float(sum(costs[name] or 0.0 for name in IN_TURN))


def timeline(costs: dict[str, Any], until_ns: float) -> Drawing:
    """Draw what happens for the KV head in this step, one thing after another.

    The axis ends at `until_ns`, the same for steps that are shown side by side.
    """
    names = IN_TURN
    known = {name: costs[name] for name in names if costs[name]}
    factor, unit = scaled([until_ns], "ns")
    bars = []
    start = 0.0
    for place, name in enumerate(names):
        if name not in known:
            continue
        called = name.removesuffix("_ns")
        bars.append(
            {
                "type": "bar",
                "orientation": "h",
                "base": [start / factor],
                "x": [known[name] / factor],
                "y": ["step"],
                "name": called,
                "marker": {"color": PARTS[place], "line": {"color": INK, "width": 0.8}},
                "hovertemplate": f"{called}: %{{x:.4g}} {unit}<extra></extra>",
            }
        )
        start += known[name]
    return drawing(
        bars,
        axis_title("Time of this KV head in this step", unit),
        "",
        210,
        barmode="overlay",
        xaxis={"range": [0, 1.02 * until_ns / factor]},
        yaxis={"showticklabels": False},
    )


def costs_tables(costs: dict[str, Any], usual: dict[str, Any]) -> list[html.Table]:
    """Return phases, counts and energies, each beside its mean over steps; a dash where unknown."""
    beside = {name.removesuffix("_ns"): name for name in PHASES} | {"attention": "latency_ns"}
    times = beside | {name: f"{name}_ns" for name in (*BEFORE, *AFTER)}
    parts = {name.removesuffix("_pj"): name for name in ENERGY_PARTS} | {"attention": "energy_pj"}
    energies = parts | {name: f"{name}_pj" for name in (*BEFORE, *AFTER)}
    counts = {title: name for name, title in COUNTS.items()}
    return [
        _table(heading, columns, costs, usual, form)
        for heading, columns, form in (
            ("Time, ns", times, ",.1f"),
            ("Count", counts, ",.0f"),
            ("Energy, pJ", energies, ",.0f"),
        )
    ]


def _table(
    heading: str, columns: dict[str, str], costs: dict[str, Any], usual: dict[str, Any], form: str
) -> html.Table:
    numbers = ("this step", "mean step")
    head = [html.Th(heading, scope="col")]
    head += [html.Th(text, scope="col", className="number") for text in numbers]
    body = [
        html.Tr(
            [
                html.Th(title, scope="row"),
                *(html.Td(_text(side[name], form), className="number") for side in (costs, usual)),
            ]
        )
        for title, name in columns.items()
    ]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(body)])


def _text(value: float | None, form: str) -> str:
    return "\u2013" if value is None else format(value, form)
