"""STARC's clustering before a layer, as its artefact charges it.

Source: EPIC-RPI/STARC @ 30d4ce9, simulator_starc.
"""

from math import ceil

import numpy as np

from pimreplay.attacc.addresses import VALUE_OFFSET, Addresses
from pimreplay.attacc.stream import Stream, stage
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE

CLUSTER_TOKENS = 64
CLUSTER_ITERATIONS = 16
CLUSTER_ROW_TOKENS = 16


def cluster_step(stream: Stream, layout: Addresses, valid: int) -> None:
    """STARC's clustering and rewriting as its artefact charges them: over all tokens, once."""
    org, shape, barrier = layout.org, layout.shape, layout.channels
    tokens = shape.tokens
    blocks = ceil(tokens / layout.lanes)
    scratch = 2 * VALUE_OFFSET
    moves = layout.place(layout.gemv_offsets(tokens), valid) + scratch
    score_moves = layout.place(layout.score_move_offsets(), valid) + scratch
    columns = np.arange(blocks * layout.columns, dtype=np.int64) * layout.column
    norms = layout.place(columns.reshape(blocks, layout.columns), valid) + scratch
    norms = np.concatenate([norms, norms])  # squares, then divisions
    charged = ceil(blocks / BLOCKS_PER_MOVE) * BLOCKS_PER_MOVE
    # norms of the keys
    stream.add("PIM_MV_GB", moves)
    stream.add("PIM_BARRIER", barrier)
    stage(stream, layout, norms[:charged], BLOCKS_PER_MOVE, score_moves)
    # centroid updates, then every key and value read and written once
    centroid_rows = ceil(ceil(tokens / CLUSTER_TOKENS) / CLUSTER_ROW_TOKENS)
    vector = [bank * layout.bank + c for bank in range(org.banks) for c in range(layout.columns)]
    centroids = [row * layout.row + at for row in range(centroid_rows) for at in vector]
    for _ in range(CLUSTER_ITERATIONS):
        stream.add("PIM_MV_GB", moves)
        stream.add("PIM_WR_GB", layout.place(centroids, valid) + scratch + (1 << 22))
    for row in range(ceil(tokens / CLUSTER_ROW_TOKENS)):
        for source, target in (
            (0, scratch + VALUE_OFFSET),
            (VALUE_OFFSET, scratch + 2 * VALUE_OFFSET),
        ):
            places = layout.place(vector, valid).reshape(-1, 1) + row * layout.row
            stream.rounds(("PIM_MV_GB", places + source), ("PIM_WR_GB", places + target))
    stream.add("PIM_BARRIER", barrier)
    # similarities of the first blocks
    pairs = tokens * tokens / CLUSTER_TOKENS
    length = ceil(pairs / org.banks / layout.words / BLOCKS_PER_MOVE)
    block = np.arange(length, dtype=np.int64) % ceil(pairs / layout.lanes)
    columns = block[:, None] * layout.columns + np.arange(layout.columns)
    macs = layout.place(columns * layout.column, valid) + scratch
    stage(stream, layout, macs, 1, score_moves)
