"""The step inspector: what a step selected, what it read, where that lies and what it cost."""

from collections.abc import Iterator

import numpy as np
from dash import dcc, html

from analysis.dashboard.block_map import block_map, legend
from analysis.dashboard.inspection import Inspection
from analysis.dashboard.inspector_costs import costs_tables, timeline
from analysis.figures import Drawing
from tracegen.base.numbers import write_ranges

GRAPH = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "resetScale2d"]],
}
"""How graphs behave in the page."""

HEAVY_RATIO = 0.01
"""A token that carries more attention weight than this is marked when it is missed."""

KINDS = ("", "selected", "missed", "extra")
"""Classes of marks in the text, in the order of `states`."""


def inspector(one: Inspection, method: str, until_ns: float, place: int = 0) -> html.Div:
    """Return the page part that shows one step of one query head.

    `until_ns` is where timelines end, and `place` keeps the ids of several parts apart.
    """
    tail = "" if place == 0 else f"-{place + 1}"
    return html.Div(
        [
            html.P(_sentence(one, method), id=f"inspector-summary{tail}"),
            html.H3("What it cost"),
            _graph(
                timeline(one.costs, until_ns),
                f"timeline{tail}",
                "Attention of the KV head, all query heads of its group together, and the work"
                " beside it; clustering runs on the host.",
            ),
            html.Div(costs_tables(one.costs, one.usual), className="costs"),
            html.H3("Memory"),
            html.P(_rows_sentence(one)),
            html.P(
                [
                    html.Span([html.Span(className="swatch", style={"background": colour}), kind])
                    for kind, colour in legend().items()
                ],
                className="swatches",
            ),
            _graph(
                block_map(one),
                f"block-map{tail}",
                "Each column is a block, read at once in all lanes; lanes that are read and not"
                " selected are over-fetch. Where the policy clusters, each cluster has a hue.",
            ),
            html.H3("Text"),
            html.P(
                [
                    html.Mark("selected", className="selected"),
                    " ",
                    html.Mark("read, not selected", className="extra"),
                    " ",
                    html.Mark("missed", className="missed"),
                    " = not selected, though it holds more than 1 % of the attention.",
                ],
                className="legend",
            ),
            html.Div(
                list(marked_text(one)),
                id=f"inspector-text{tail}",
                className="tokens",
                role="region",
                tabIndex=0,
                **{"aria-label": f"Text of the context, tokens of {method} marked"},
            ),
            html.H3("Heaviest tokens missed"),
            _missed_table(one),
        ],
        className="inspected",
    )


def percent(ratio: float) -> str:
    """Return a ratio in percent, small ones with the digits that tell them from zero."""
    digits = ".1f" if ratio == 0 or ratio >= 1e-3 else "#.2g"
    return f"{100 * ratio:{digits}} %"


def states(one: Inspection) -> np.ndarray:
    """Return the place in `KINDS` of each visible token."""
    missed = ~one.selected & (one.weight > HEAVY_RATIO)
    return np.select([one.selected, missed, one.read], [1, 2, 3], 0)


def marked_text(one: Inspection) -> Iterator[object]:
    """Yield the text in runs of tokens of one state."""
    state = states(one)
    borders = np.flatnonzero(np.diff(state)) + 1
    starts = [0, *borders.tolist()]
    stops = [*borders.tolist(), len(state)]
    for start, stop in zip(starts, stops, strict=True):
        text = "".join(one.text[start:stop])
        text = text or " ".join(f"[{token}]" for token in range(start, stop))
        tokens = f"token {start}" if stop - start == 1 else f"tokens {start} to {stop - 1}"
        kind = KINDS[state[start]]
        if not kind:
            yield html.Span(text)
        else:
            weight = percent(float(one.weight[start:stop].sum()))
            yield html.Mark(text, className=kind, title=f"{kind}: {tokens}, weight {weight}")


def _graph(drawing: Drawing, name: str, caption: str) -> html.Figure:
    return html.Figure(
        [
            html.Div(
                dcc.Graph(figure=drawing.plain(), config=GRAPH, id=name),
                role="group",
                **{"aria-label": name.replace("-", " "), "aria-describedby": f"{name}-caption"},
            ),
            html.Figcaption(caption, id=f"{name}-caption"),
        ]
    )


def _sentence(one: Inspection, method: str) -> str:
    visible, selected, read = len(one.selected), int(one.selected.sum()), int(one.read.sum())
    text = (
        f"{method}, layer {one.layer}, KV head {one.kv_head}, query head {one.q_head} of its"
        f" group, step {one.step}: {selected} of {visible} tokens are selected; reading them reads"
        f" {read}, in {int(one.blocks.sum())} of {len(one.blocks)} blocks. The selected ones hold"
        f" {percent(one.mass_kept_ratio)} of the attention,"
        f" {percent(1 - one.mass_kept_ratio)} is missed."
    )
    if one.dense_layer:
        text += " The run kept this layer dense: every token is read under every method."
    return text


def _rows_sentence(one: Inspection) -> str:
    rows = one.key_rows
    total = -(-len(one.blocks) // one.key_blocks_per_row)
    return (
        f"All {one.q_heads} query heads of the group together touch {int(one.group_blocks.sum())}"
        f" blocks in {len(rows)} of {total} DRAM rows of keys: {write_ranges(rows)}."
    )


def _missed_table(one: Inspection) -> html.Table:
    rows = [
        html.Tr(
            [
                html.Th(str(token), scope="row"),
                html.Td(html.Code(repr(one.text[token]))),
                html.Td(percent(weight), className="number"),
            ]
        )
        for token, weight in one.missed()
    ]
    head = html.Tr([html.Th(text, scope="col") for text in ("Token", "Text", "Attention weight")])
    return html.Table([html.Thead(head), html.Tbody(rows)])
