"""Turn the parts of all points into the tables of a results folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pimreplay.cost.all_in import all_in
from pimreplay.cost.channels import channel_cycles
from pimreplay.replay.kv_head import HeadResult
from pimreplay.replay.settings import Settings
from pimreplay.results.schema import SCHEMAS, STEP_VALUES
from pimreplay.results.writer import ResultsWriter
from pimreplay.study.cache import Parts
from pimreplay.study.jobs import layers_of, units_of
from pimreplay.study.plan import Point
from pimreplay.study.provenance import describe
from tracegen.trace.store import Trace

KEPT_SELECTIONS_BYTES = 64 << 20
TOKEN_COLUMNS = [name for name in SCHEMAS["tokens"].names if name != "trace"]


def keep_selections(points: Sequence[Point], settings: Settings) -> bool:
    """Decide whether the results hold the selections: when asked to, or when they are small."""
    if settings.selections is not None:
        return settings.selections
    total = 0
    for point in points:
        manifest = point.trace.manifest
        rows = manifest.q_heads * manifest.decode_steps * len(layers_of(point, settings))
        total += rows * (manifest.tokens // 8 + manifest.tokens // 128)
    return total <= KEPT_SELECTIONS_BYTES


def write_results(
    writer: ResultsWriter,
    points: Sequence[Point],
    settings: Settings,
    parts: Parts,
    failures: Mapping[int, str],
    extra: dict[str, Any],
) -> None:
    """Write every table and `run.json`; a failed point is a row of `points` and nothing else."""
    for number, point in enumerate(points):
        error = failures.get(number)
        writer.write(
            "points",
            {
                "point": [point.name],
                **point.key(),
                "status": "ok" if error is None else "failed",
                "error": error,
            },
        )
        if error is None:
            units = units_of(number, point, settings)
            _write_point(writer, point, [parts.get(unit) for unit in units])
    for trace in {point.trace.path: point.trace for point in points}.values():
        rows = Trace.open(trace.path).token_table()
        texts = {name: rows[name].combine_chunks() for name in TOKEN_COLUMNS}
        writer.write("tokens", {"trace": trace.name, **texts})
    writer.finish({**describe(points, settings, writer.path), **extra})


def _write_point(writer: ResultsWriter, point: Point, parts: Sequence[HeadResult]) -> None:
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
    for table, columns in _layer_rows(point, parts).items():
        writer.write(table, {**key, **columns})
    for one in parts:
        if one.selected is not None and one.blocks is not None:
            _write_selection(writer, key, one, one.selected, one.blocks)


def _joined(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return a column of all parts; unknown as soon as it is unknown in one of them."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def _layer_rows(
    point: Point, parts: Sequence[HeadResult]
) -> dict[str, dict[str, np.ndarray | None]]:
    """Return the rows of every layer in `layers` and `channels`, without the configuration."""
    hardware, kv_heads = point.hardware, point.trace.kv_heads
    first = parts[::kv_heads]  # one part of each layer
    number = np.array([one.layer for one in first], np.int32)
    dense_layer = np.array([one.dense_layer for one in first])
    # a spread head has a share in every channel, the others go round the channels
    spread, steps = parts[0].channel_cycles.shape
    channels = hardware.channels
    shares = kv_heads * spread
    place = np.arange(shares) % (spread if spread > 1 else channels)
    used = min(channels, max(spread, kv_heads))

    def by_share(name: str) -> np.ndarray:
        """Return cycles with the layers side by side: (shares, layers * steps)."""
        cycles = np.stack([getattr(one, name) for one in parts]).reshape(-1, shares, steps)
        return np.ascontiguousarray(cycles.transpose(1, 0, 2)).reshape(shares, -1)

    load = channel_cycles(hardware, by_share("channel_cycles"), by_share("hidden_cycles"), place)
    load = load[:used]

    def by_head(name: str) -> np.ndarray | None:
        """Return a column with the layers side by side, (kv_heads, layers * steps)."""
        column = _joined([one.values[name] for one in parts])
        if column is None:
            return None
        heads: np.ndarray = column.reshape(-1, kv_heads, steps).transpose(1, 0, 2)
        return heads.reshape(kv_heads, -1)

    energy = by_head("energy_pj")
    load_ns = load.astype(np.float64) * hardware.t_ck_ns
    latency = all_in(load_ns, by_head("scoring_ns"), by_head("remap_ns"), by_head("clustering_ns"))
    loads = np.stack([one.lane_tokens.sum(axis=0, dtype=np.int64) for one in parts])
    loads = loads.reshape(len(first), shares, -1)  # (layers, shares, lanes)
    lanes = loads.shape[2]
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
            "tokens": tokens.reshape(-1),
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
