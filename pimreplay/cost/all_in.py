"""What a layer takes with the work beside attention: one definition, and what it assumes.

A KV head is scored and rewritten in its own channel (head h in channel h mod channels, also where
a layout spreads its tokens), before and after its attention: nothing of a channel overlaps.
Clustering runs on the host, which is one: it takes the KV heads of a layer one after another, at
the whole rate that the hardware file states, and the layer waits for it. A system that clusters
beside other work, or ahead of time, hides part of that, so the sum is an upper bound; scoring
cannot be hidden, because a step's selection depends on its own query.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AllIn:
    """Latency of one layer with overheads, (steps,) ns; None: one of them is unknown."""

    with_scoring_ns: FloatArray | None
    with_overheads_ns: FloatArray | None


def all_in(
    load_ns: FloatArray,
    scoring_ns: FloatArray | None,
    remap_ns: FloatArray | None,
    clustering_ns: FloatArray | None,
) -> AllIn:
    """Add the overheads of the KV heads to the attention of the channels.

    Args:
        load_ns: Attention in each channel, (channels, steps).
        scoring_ns: Of each KV head, (kv_heads, steps); None: unknown. The others likewise.
        remap_ns: In the channel of the KV head.
        clustering_ns: On the host.
    """
    if scoring_ns is None:
        return AllIn(None, None)
    scored = load_ns + _in_channels(scoring_ns, len(load_ns))
    if remap_ns is None or clustering_ns is None:
        return AllIn(scored.max(axis=0), None)
    moved = scored + _in_channels(remap_ns, len(load_ns))
    return AllIn(scored.max(axis=0), moved.max(axis=0) + clustering_ns.sum(axis=0))


def _in_channels(values: FloatArray, channels: int) -> FloatArray:
    """Add the values of KV heads up in their channels, (channels, steps)."""
    found = np.zeros((channels, values.shape[1]))
    np.add.at(found, np.arange(len(values)) % channels, values)
    return found
