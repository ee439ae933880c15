"""A layer from its KV heads: its time, its energy and the loads of its channels."""

from collections.abc import Sequence

import numpy as np

from pimreplay.cost.all_in import all_in
from pimreplay.cost.channels import channel_cycles
from pimreplay.replay.kv_head import HeadResult
from pimreplay.study.plan import Point


def joined(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return a column of all parts; unknown as soon as it is unknown in one of them."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def layer_rows(
    point: Point, parts: Sequence[HeadResult]
) -> dict[str, dict[str, np.ndarray | None]]:
    """Return the rows of every layer in `layers` and `channels`, without the configuration."""
    hardware, kv_heads = point.hardware, point.trace.kv_heads
    first = parts[::kv_heads]  # one part of each layer
    number = np.array([one.layer for one in first], np.int32)
    dense_layer = np.array([one.dense_layer for one in first])
    cycles = np.stack([one.channel_cycles for one in parts])
    hidden = np.stack([one.hidden_cycles for one in parts])
    _, spread, steps = cycles.shape
    # shares go round the channels: those of a spread KV head meet every channel once
    channels = hardware.channels
    shares = kv_heads * spread
    place = np.arange(shares) % channels
    used = min(channels, shares)

    def side_by_side(values: np.ndarray, rows: int) -> np.ndarray:
        """Return the rows of a layer, one layer's steps beside the other's: (rows, all steps)."""
        return np.concatenate(list(values.reshape(len(first), rows, steps)), axis=1)

    def by_head(name: str) -> np.ndarray | None:
        """Return a column by KV head, (kv_heads, layers * steps)."""
        column = joined([one.values[name] for one in parts])
        return None if column is None else side_by_side(column, kv_heads)

    by_share = side_by_side(cycles, shares), side_by_side(hidden, shares)
    load = channel_cycles(hardware, *by_share, place)[:used]
    load_ns = load.astype(np.float64) * hardware.t_ck_ns
    latency = all_in(load_ns, by_head("scoring_ns"), by_head("remap_ns"), by_head("clustering_ns"))
    energy = by_head("energy_pj")
    loads = np.stack([one.lane_tokens.sum(axis=0, dtype=np.int64) for one in parts])
    lanes = loads.size // (len(first) * shares)
    loads = loads.reshape(len(first), shares, lanes)
    tokens = np.stack([loads[:, place == one].sum(axis=1) for one in range(used)], axis=1)
    return {
        "layers": {
            "layer": np.repeat(number, steps),
            "dense_layer": np.repeat(dense_layer, steps),
            "step": np.tile(np.arange(steps, dtype=np.int32), len(first)),
            "latency_ns": load_ns.max(axis=0),
            "latency_with_scoring_ns": latency.with_scoring_ns,
            "latency_with_overheads_ns": latency.with_overheads_ns,
            "energy_pj": None if energy is None else energy.sum(axis=0),
            "busiest_channel_ns": load_ns.max(axis=0),
            "mean_channel_ns": load_ns.mean(axis=0),
        },
        "channels": {
            "layer": np.repeat(number, used * lanes),
            "dense_layer": np.repeat(dense_layer, used * lanes),
            "channel": np.tile(np.repeat(np.arange(used, dtype=np.int32), lanes), len(first)),
            "lane": np.tile(np.arange(lanes, dtype=np.int32), len(first) * used),
            "tokens": tokens.ravel(),
        },
    }
