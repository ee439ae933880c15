"""The memory of one KV head as a map: lanes by blocks, coloured by cluster, read tokens lit."""

import numpy as np

from analysis.dashboard.inspection import Inspection
from analysis.figures import Drawing
from analysis.figures._style import INK, axis_title, drawing

ROW_LINES = 64
"""Row borders are drawn up to so many."""

HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#5b4bb5")
"""Of clusters, which take them in turn: neighbours are told apart, not all of them."""

TONES = {"not read": 0.18, "read, not selected": 0.5, "selected": 1.0}
"""How much of its hue a token has, the rest is white."""

EMPTY = "#ffffff"


def block_map(one: Inspection) -> Drawing:
    """Draw each token at its lane and block: its hue says the cluster, its tone what was done."""
    n_blocks = len(one.blocks)
    lane, block = one.slot % one.block_tokens, one.slot // one.block_tokens
    tone = np.where(one.selected, 2, np.where(one.read, 1, 0))
    hue = np.where(one.cluster < 0, 0, one.cluster % len(HUES))
    cells = np.zeros((one.block_tokens, n_blocks), dtype=np.int8)
    cells[lane, block] = 1 + len(TONES) * hue + tone
    clusters = np.full(cells.shape, -1)
    clusters[lane, block] = one.cluster
    palette = [EMPTY, *(mixed(own, part) for own in HUES for part in TONES.values())]
    scale = [
        [edge / len(palette), colour]
        for place, colour in enumerate(palette)
        for edge in (place, place + 1)
    ]
    clustered = bool((one.cluster >= 0).any())
    trace = {
        "type": "heatmap",
        "z": cells.tolist(),
        "customdata": clusters.tolist(),
        "colorscale": scale,
        "zmin": -0.5,
        "zmax": len(palette) - 0.5,
        "ygap": 0.5,
        "showscale": False,
        "hovertemplate": "block %{x}, lane %{y}"
        + (", cluster %{customdata}" if clustered else "")
        + "<extra></extra>",
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


def legend() -> dict[str, str]:
    """Return what a cell can be, with the colour that it has in the first hue."""
    tones = {name: mixed(HUES[0], part) for name, part in TONES.items()}
    return {"empty": EMPTY, **tones}


def mixed(colour: str, part: float) -> str:
    """Return a colour mixed with white, `part` of it."""
    levels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 - part * (255 - level)):02x}" for level in levels)
