"""Turn the parts of a point into rows of the result tables."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from pimreplay.plan import Point
from pimreplay.replay import HeadResult
from pimreplay.results import STEP_VALUES, ResultsWriter
from pimreplay.schedule import channel_cycles


def write_point(writer: ResultsWriter, point: Point, parts: Sequence[HeadResult]) -> None:
    """Write every row of a point; `parts` are in the order of layers, then KV heads."""
    key = point.key()
    steps = len(parts[0].lane_tokens)
    writer.write(
        "steps",
        {
            **key,
            "dense_layer": np.repeat([one.dense_layer for one in parts], steps),
            "layer": np.repeat(np.array([one.layer for one in parts], np.int32), steps),
            "kv_head": np.repeat(np.array([one.kv_head for one in parts], np.int32), steps),
            "step": np.tile(np.arange(steps, dtype=np.int32), len(parts)),
            **{name: _joined([one.values[name] for one in parts]) for name in STEP_VALUES},
            "lane_tokens": np.concatenate([one.lane_tokens for one in parts]),
        },
    )
    layers = [
        _layer_rows(point, list(heads)) for _, heads in groupby(parts, key=lambda one: one.layer)
    ]
    for table in ("layers", "channels"):
        rows = [one[table] for one in layers]
        writer.write(
            table, {**key, **{name: _joined([one[name] for one in rows]) for name in rows[0]}}
        )
    for one in parts:
        if one.selected is not None and one.blocks is not None:
            _write_selection(writer, key, one, one.selected, one.blocks)


def _joined(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return a column of all parts; unknown as soon as it is unknown in one of them."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def _layer_rows(
    point: Point, heads: Sequence[HeadResult]
) -> dict[str, dict[str, np.ndarray | None]]:
    """Return the rows of one layer in `layers` and `channels`, without the configuration."""
    hardware = point.hardware
    # a spread head has a share in every channel, the others go round the channels
    spread = len(heads[0].channel_cycles)
    channels = hardware.organisation.channels
    place = (
        np.tile(np.arange(spread), len(heads)) if spread > 1 else np.arange(len(heads)) % channels
    )
    used = min(channels, max(spread, len(heads)))
    load = channel_cycles(
        hardware,
        np.concatenate([one.channel_cycles for one in heads]),
        np.concatenate([one.hidden_cycles for one in heads]),
        place,
    )[:used]
    steps = load.shape[1]
    energies = [one.values["energy_pj"] for one in heads]
    known = [energy for energy in energies if energy is not None]
    # (spread, lanes) of each head, by channel
    loads = [one.lane_tokens.sum(axis=0, dtype=np.int64).reshape(spread, -1) for one in heads]
    shares = np.concatenate(loads)
    lanes = shares.shape[1]

    def same(rows: int) -> dict[str, np.ndarray | None]:
        return {
            "layer": np.full(rows, heads[0].layer, np.int32),
            "dense_layer": np.full(rows, heads[0].dense_layer),
        }

    return {
        "layers": {
            **same(steps),
            "step": np.arange(steps, dtype=np.int32),
            "latency_ns": load.max(axis=0) * hardware.t_ck_ns,
            "energy_pj": np.sum(known, axis=0) if len(known) == len(energies) else None,
            "busiest_channel_ns": load.max(axis=0) * hardware.t_ck_ns,
            "mean_channel_ns": load.mean(axis=0) * hardware.t_ck_ns,
        },
        "channels": {
            **same(used * lanes),
            "channel": np.repeat(np.arange(used, dtype=np.int32), lanes),
            "lane": np.tile(np.arange(lanes, dtype=np.int32), used),
            "tokens": np.concatenate([shares[place == one].sum(axis=0) for one in range(used)]),
        },
    }


def _write_selection(
    writer: ResultsWriter,
    key: dict[str, str],
    part: HeadResult,
    selected: np.ndarray,
    blocks: np.ndarray,
) -> None:
    q_heads, steps, _ = selected.shape
    writer.write(
        "selections",
        {
            **key,
            "layer": part.layer,
            "kv_head": part.kv_head,
            "q_head": np.repeat(np.arange(q_heads) + part.kv_head * q_heads, steps),
            "step": np.tile(np.arange(steps), q_heads),
            "selected": [row.tobytes() for rows in selected for row in rows],
            "blocks": [row.tobytes() for rows in blocks for row in rows],
        },
    )
