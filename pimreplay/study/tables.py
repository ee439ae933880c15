"""Turn the parts of all points into the tables of a results folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pimreplay.replay.kv_head import HeadResult
from pimreplay.replay.settings import Settings
from pimreplay.results.schema import SCHEMAS, STEP_VALUES
from pimreplay.results.writer import ResultsWriter
from pimreplay.study.cache import Parts
from pimreplay.study.jobs import layers_of, units_of
from pimreplay.study.layer_rows import joined, layer_rows
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
            **{name: joined([one.values[name] for one in parts]) for name in STEP_VALUES},
            "lane_tokens": np.concatenate([one.lane_tokens for one in parts]),
        },
    )
    for table, columns in layer_rows(point, parts).items():
        writer.write(table, {**key, **columns})
    for one in parts:
        if one.selected is not None and one.blocks is not None:
            _write_selection(writer, key, one, one.selected, one.blocks)


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
