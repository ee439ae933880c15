"""The step inspector: the text with the selection marked, the blocks and rows, what was missed."""

from collections.abc import Iterator

import numpy as np
from dash import dcc, html

from analysis.dashboard.inspection import Inspection
from analysis.figures import Drawing
from analysis.figures._style import INK, axis_title, drawing
from tracegen.base.numbers import write_ranges

GRAPH = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "resetScale2d"]],
}
"""How graphs behave in the page."""

ROW_LINES = 64
"""Row borders are drawn up to so many."""

KINDS = {
    "empty": "#ffffff",
    "not read": "#d0d7de",
    "read, not selected": "#E69F00",
    "selected": "#0072B2",
}
"""What a cell of the block map can be, in the order of its numbers, and its colour."""

HEAVY_RATIO = 0.01
"""A token that carries more attention weight than this is marked when it is missed."""


def inspector(one: Inspection, method: str) -> list[object]:
    """Return the page parts that show one step of one query head."""
    return [
        html.P(_sentence(one, method), id="inspector-summary"),
        html.P(
            [
                html.Mark("read", className="read"),
                " ",
                html.Mark("missed", className="missed"),
                " = missed, though it holds more than 1 % of the attention; the rest was not read.",
            ],
            className="legend",
        ),
        html.H3("Text"),
        html.Div(
            list(marked_text(one)),
            id="inspector-text",
            className="tokens",
            role="region",
            tabIndex=0,
            **{"aria-label": "Text of the context, read tokens marked"},
        ),
        html.H3("Heaviest tokens missed"),
        _missed_table(one),
        html.H3("Blocks and lanes", id="block-map-title"),
        html.P(_rows_sentence(one)),
        html.Figure(
            [
                html.P(
                    [
                        html.Span(
                            [html.Span(className="swatch", style={"background": colour}), kind]
                        )
                        for kind, colour in KINDS.items()
                    ],
                    className="swatches",
                ),
                html.Div(
                    dcc.Graph(figure=block_map(one).plain(), config=GRAPH, id="block-map"),
                    role="group",
                    **{
                        "aria-labelledby": "block-map-title",
                        "aria-describedby": "block-map-caption",
                    },
                ),
                html.Figcaption(
                    "Each column is a block, read at once in all lanes; tall columns of wasted"
                    " lanes are over-fetch.",
                    id="block-map-caption",
                ),
            ]
        ),
    ]


def percent(ratio: float) -> str:
    """Return a ratio in percent, small ones with the digits that tell them from zero."""
    digits = ".1f" if ratio == 0 or ratio >= 1e-3 else "#.2g"
    return f"{100 * ratio:{digits}} %"


def states(one: Inspection) -> np.ndarray:
    """Return 0 not read, 1 read, 2 missed though heavy, for each visible token."""
    missed = ~one.selected & (one.weight > HEAVY_RATIO)
    return np.where(one.selected, 1, np.where(missed, 2, 0))


def marked_text(one: Inspection) -> Iterator[object]:
    """Yield the text in runs of tokens of one state; read and missed runs are marked."""
    state = states(one)
    borders = np.flatnonzero(np.diff(state)) + 1
    starts = [0, *borders.tolist()]
    stops = [*borders.tolist(), len(state)]
    for start, stop in zip(starts, stops, strict=True):
        text = "".join(one.text[start:stop])
        text = text or " ".join(f"[{token}]" for token in range(start, stop))
        tokens = f"token {start}" if stop - start == 1 else f"tokens {start} to {stop - 1}"
        kind = state[start]
        if kind == 0:
            yield html.Span(text)
        else:
            name = "read" if kind == 1 else "missed"
            weight = float(one.weight[start:stop].sum())
            yield html.Mark(
                text, className=name, title=f"{name}: {tokens}, weight {percent(weight)}"
            )


def block_map(one: Inspection) -> Drawing:
    """Draw lanes by blocks: empty, not read, read for nothing, selected."""
    n_blocks = len(one.blocks)
    grid = np.zeros((one.block_tokens, n_blocks), dtype=np.int8)
    lane, block = one.slot % one.block_tokens, one.slot // one.block_tokens
    grid[lane, block] = np.where(one.selected, 3, np.where(one.blocks[block], 2, 1))
    scale = [
        [edge / len(KINDS), colour]
        for place, colour in enumerate(KINDS.values())
        for edge in (place, place + 1)
    ]
    trace = {
        "type": "heatmap",
        "z": grid.tolist(),
        "colorscale": scale,
        "zmin": -0.5,
        "zmax": 3.5,
        "ygap": 0.5,
        "showscale": False,
        "hovertemplate": "block %{x}, lane %{y}<extra></extra>",
    }
    edges = range(one.key_blocks_per_row, n_blocks, one.key_blocks_per_row)
    line = {"type": "line", "y0": 0, "y1": 1, "yref": "paper"}
    shapes = [
        line | {"x0": edge - 0.5, "x1": edge - 0.5, "line": {"color": INK, "width": 0.8}}
        for edge in edges
        if len(edges) <= ROW_LINES
    ]
    return drawing(
        [trace],
        axis_title("Block", "index", "lines: borders of DRAM rows of keys"),
        axis_title("Lane", "index"),
        340,
        shapes=shapes,
    )


def _sentence(one: Inspection, method: str) -> str:
    visible, selected = len(one.selected), int(one.selected.sum())
    text = (
        f"{method}, layer {one.layer}, KV head {one.kv_head}, query head {one.q_head} of its"
        f" group, step {one.step}: {selected} of {visible} tokens were read, in"
        f" {int(one.blocks.sum())} of {len(one.blocks)} blocks; they hold"
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
