"""Tables of results and metrics are those that loops over rows find."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slow_tables
from slow_tables import Part, Results, Row

from analysis.metrics import metrics
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.hardware.reading import load
from pimreplay.replay.kv_head import HeadResult
from pimreplay.results.reader import open_results
from pimreplay.results.schema import SCHEMAS, STEP_VALUES
from pimreplay.results.writer import ResultsWriter
from pimreplay.study.tables import _write_point

LAYERS, STEPS, LANES = (2, 5, 7), 6, 4
OVERHEADS = ("scoring", "clustering", "remap")
KEY = {
    "trace": "needle",
    "model": "reference",
    "trace_kind": "captured",
    "policy": "starc",
    "policy_parameters": "",
    "layout": "clustered",
    "hardware": "attacc_hbm3_bank",
    "budget": "64",
}


def near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, rel=1e-9)


class Written:
    """Stands for a writer: keeps the columns of each table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def write(self, table: str, columns: dict[str, Any]) -> None:
        self.tables.setdefault(table, []).append(columns)


def rows_of(columns: dict[str, Any], names: Sequence[str]) -> list[Row]:
    n = max(len(columns[name]) for name in names if columns[name] is not None)
    return [
        {name: None if columns[name] is None else columns[name][row] for name in names}
        for row in range(n)
    ]


def parts_of_a_study(kv_heads: int, spread: int, known: Callable[[int], bool]) -> list[Part]:
    random = np.random.default_rng(kv_heads + spread)
    return [
        Part(
            layer=layer,
            kv_head=head,
            dense_layer=layer == 2,
            cycles=random.integers(50, 90, (spread, STEPS)).tolist(),
            hidden=random.integers(0, 99, (spread, STEPS)).tolist(),
            energy_pj=random.random(STEPS).tolist() if known(head) else None,
            lane_tokens=random.integers(0, 9, (STEPS, spread * LANES)).tolist(),
            **{
                f"{name}_ns": (60 * random.random(STEPS)).tolist() if known(head) else None
                for name in OVERHEADS
            },
        )
        for layer in LAYERS
        for head in range(kv_heads)
    ]


def written(parts: Sequence[Part], kv_heads: int) -> tuple[Written, float, int]:
    """Write a point's tables; return them with the device's clock period and channels."""
    hardware = load("attacc_hbm3_bank")
    writer = Written()
    point = SimpleNamespace(
        key=lambda: KEY, hardware=hardware, trace=SimpleNamespace(kv_heads=kv_heads)
    )
    results = []
    for part in parts:
        values: dict[str, Any] = {name: np.arange(STEPS) + part.kv_head for name in STEP_VALUES}
        for name in ("energy_pj", *(f"{name}_ns" for name in OVERHEADS)):
            own = getattr(part, name)
            values[name] = None if own is None else np.array(own)
        results.append(
            HeadResult(
                point=0,
                layer=part.layer,
                kv_head=part.kv_head,
                dense_layer=part.dense_layer,
                values=values,
                lane_tokens=np.array(part.lane_tokens, dtype=np.int32),
                channel_cycles=np.array(part.cycles),
                hidden_cycles=np.array(part.hidden),
            )
        )
    _write_point(writer, point, results)  # type: ignore[arg-type]
    return writer, hardware.t_ck_ns, hardware.organisation.channels


SHARES = {
    "fewer heads than channels": (3, 1),
    "heads that take turns": (35, 1),
    "an odd head more than channels": (17, 1),
    "one head": (1, 1),
    "spread over all channels": (3, 16),
    "one head spread over a few": (1, 5),
}


@pytest.mark.parametrize("case", SHARES)
def test_layers_and_lanes_of_a_point_are_those_of_its_heads(case: str) -> None:
    kv_heads, spread = SHARES[case]
    parts = parts_of_a_study(kv_heads, spread, known=lambda head: True)
    writer, t_ck_ns, channels = written(parts, kv_heads)
    (layers,), (lanes,) = writer.tables["layers"], writer.tables["channels"]
    expected = slow_tables.layer_rows(parts, channels, t_ck_ns)
    found = rows_of(layers, list(expected[0]))
    assert found == [
        {k: near(v) if isinstance(v, float) else v for k, v in row.items()} for row in expected
    ]
    expected = slow_tables.channel_rows(parts, channels)
    assert rows_of(lanes, list(expected[0])) == expected
    assert layers["policy"] == lanes["policy"] == "starc"


@pytest.mark.parametrize("unknown", [{0}, {1}, {0, 1}])
def test_what_a_head_does_not_know_its_layer_does_not_know_either(unknown: set[int]) -> None:
    parts = parts_of_a_study(2, 1, known=lambda head: head not in unknown)
    writer, _, _ = written(parts, 2)
    layers = writer.tables["layers"][0]
    for name in ("energy_pj", "latency_with_scoring_ns", "latency_with_overheads_ns"):
        assert layers[name] is None
    assert layers["latency_ns"] is not None
    assert writer.tables["steps"][0]["energy_pj"] is None


def test_steps_of_a_point_are_rows_by_layer_then_head_then_step() -> None:
    parts = parts_of_a_study(2, 1, known=lambda head: True)
    writer, _, _ = written(parts, 2)
    (steps,) = writer.tables["steps"]
    found = rows_of(steps, ["layer", "kv_head", "step", "dense_layer", "cycles", "energy_pj"])
    assert found == [
        {
            "layer": part.layer,
            "kv_head": part.kv_head,
            "step": step,
            "dense_layer": part.layer == 2,
            "cycles": step + part.kv_head,
            "energy_pj": part.energy_pj[step],
        }
        for part in parts
        for step in range(STEPS)
    ]
    assert steps["lane_tokens"].tolist() == [row for part in parts for row in part.lane_tokens]


KV_HEADS = 3


RUN = {
    "traces": [
        {
            "name": "needle",
            "path": "needle",
            "hash": "ab" * 32,
            "kind": "captured",
            "model": "reference",
            "layers": list(LAYERS),
            "kv_heads": KV_HEADS,
            "decode_steps": STEPS,
        }
    ],
    "configuration": {
        "policies": [{"policy": "starc", "parameters": "", "layout": "clustered"}],
        "budgets": ["64"],
        "hardware": ["attacc_hbm3_bank"],
        "dense_layers": 0,
        "fidelity": "analytic",
        "layers": None,
        "seed": 0,
    },
    "hardware": [{"name": "attacc_hbm3_bank", "assumed": [], "geometry": {}, "values": {}}],
    "versions": {"pimreplay": "0.1.0"},
}
"""What `run.json` says of a study of one point."""


def results_by_hand(folder: Path, unknown: Collection[str]) -> Results:
    """Write results of random numbers, and return their rows."""
    random = np.random.default_rng(7)
    n = len(LAYERS) * KV_HEADS * STEPS
    layer = np.repeat(LAYERS, KV_HEADS * STEPS)
    kv_head = np.tile(np.repeat(np.arange(KV_HEADS), STEPS), len(LAYERS))
    step = np.tile(np.arange(STEPS), len(LAYERS) * KV_HEADS)
    steps: dict[str, Any] = {"layer": layer, "kv_head": kv_head, "step": step}
    for name, kind in STEP_VALUES.items():
        values = random.integers(1, 999, n)
        steps[name] = values if str(kind) == "int64" else values / 1001
    for name in unknown:
        steps[name] = None
    layers: dict[str, Any] = {
        "layer": np.repeat(LAYERS, STEPS),
        "step": np.tile(np.arange(STEPS), len(LAYERS)),
    }
    for name in SCHEMAS["layers"].names:
        if name.endswith(("_ns", "_pj")):
            layers[name] = random.integers(1, 999, len(LAYERS) * STEPS) / 7
    for name in unknown:
        if name in layers:
            layers[name] = None
    channels: dict[str, Any] = {
        "layer": np.repeat(LAYERS, 3 * LANES),
        "channel": np.tile(np.repeat(np.arange(3), LANES), len(LAYERS)),
        "lane": np.tile(np.arange(LANES), len(LAYERS) * 3),
    }
    tokens = random.integers(0, 99, len(LAYERS) * 3 * LANES)
    channels["tokens"] = np.where(channels["channel"] == 1, 0, tokens)  # a channel without heads
    tables = {"steps": steps, "layers": layers, "channels": channels}
    with ResultsWriter(folder) as writer:
        for name, columns in tables.items():
            dense = {"dense_layer": columns["layer"] == 2}
            writer.write(name, {**KEY, **dense, **columns})
        point = {"point": ["needle/starc"], "status": "ok", "error": None}
        writer.write("points", {**KEY, **point})
        writer.finish(RUN)

    def rows(name: str) -> list[Row]:
        names = [one for one in SCHEMAS[name].names if one in tables[name]]
        return rows_of(tables[name], names)

    return Results(rows("steps"), rows("layers"), rows("channels"))


PARTS_SHOWN: dict[str, tuple[dict[str, Any], Callable[[Row], bool]]] = {
    "everything": ({}, lambda row: True),
    "the policies' layers": ({"policy_layers": True}, lambda row: row["layer"] != 2),
    "one layer": ({"layers": [5]}, lambda row: row["layer"] == 5),
    "two KV heads": ({"kv_heads": [0, 2]}, lambda row: row.get("kv_head", 0) != 1),
    "some steps": ({"steps": (1, 4)}, lambda row: 1 <= row.get("step", 1) <= 4),
    "some steps of a head": (
        {"steps": (3, 5), "kv_heads": [1]},
        lambda row: row.get("step", 3) >= 3 and row.get("kv_head", 1) == 1,
    ),
}


@pytest.fixture(scope="module", params=[(), ("mac_pj", "remap_ns", "topk_overlap_ratio")], ids=str)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Table, Results]:
    folder = tmp_path_factory.mktemp("tables") / "results"
    slow = results_by_hand(folder, request.param)
    return tidy(open_results([folder])), slow


def only(slow: Results, keep: Callable[[Row], bool]) -> Results:
    return Results(
        [row for row in slow.steps if keep(row)],
        [row for row in slow.layers if keep(row)],
        [row for row in slow.channels if keep(row)],
    )


@pytest.mark.parametrize("charge", slow_tables.CHARGES)
@pytest.mark.parametrize("by", [(), ("layer",), ("kv_head",), ("layer", "kv_head"), ("window",)])
@pytest.mark.parametrize("shown", PARTS_SHOWN)
def test_every_metric_is_that_of_loops_over_rows(
    both: tuple[Table, Results], shown: str, by: tuple[str, ...], charge: str
) -> None:
    table, slow = both
    narrowing, keep = PARTS_SHOWN[shown]
    kept = only(slow, keep)
    groups = sorted({tuple(row[_in_rows(one)] for one in by) for row in kept.steps})
    measured = table.narrowed(**narrowing).charging(charge).measured(*by)
    assert measured.select(*by).rows() == groups if by else len(measured) == 1
    for group, found in zip(groups, measured.iter_rows(named=True), strict=True):
        here = {_in_rows(one): value for one, value in zip(by, group, strict=True)}
        check(found, only(kept, partial(_is_at, here)), charge)


def _is_at(place: Row, row: Row) -> bool:
    return all(row.get(name, value) == value for name, value in place.items())


def check(found: Row, slow: Results, charge: str = "all") -> None:
    expected = slow_tables.metrics(slow, charge)
    assert set(expected) == set(metrics())
    assert {name: found[name] for name in expected} == {
        name: near(value) for name, value in expected.items()
    }
    assert repr(found["steps"]) == repr(len({row["step"] for row in slow.steps}))
    assert found["visible_tokens"] == near(slow.ratio("visible_tokens"))


@pytest.mark.parametrize("unknown", [(), ("mac_pj", "remap_ns", "topk_overlap_ratio")], ids=str)
def test_a_window_counts_for_as_many_steps_as_it_has(
    unknown: tuple[str, ...], tmp_path: Path
) -> None:
    slow = results_by_hand(tmp_path / "results", unknown)
    table = tidy(open_results([tmp_path / "results"]), rows=len(LAYERS) * KV_HEADS * 2)
    assert table.window_steps == 4  # the six steps are windows of four and of two
    check(table.measured().row(0, named=True), slow)
    second = only(slow, lambda row: row.get("step", 4) >= 4)
    for steps in ((4, 5), (5, 5)):
        check(table.narrowed(steps=steps).measured().row(0, named=True), second)
    first = only(slow, lambda row: row.get("step", 0) < 4)
    check(table.narrowed(steps=(0, 3)).measured().row(0, named=True), first)
    for found, layer in zip(table.measured("layer").iter_rows(named=True), LAYERS, strict=True):
        check(found, only(slow, partial(_is_at, {"layer": layer})))


def test_loads_of_lanes_are_narrowed_to_layers(both: tuple[Table, Results]) -> None:
    table, slow = both
    lanes = table.narrowed(layers=[5, 7], policy_layers=True).lanes
    assert lanes is not None
    names = ("layer", "channel", "lane", "load")
    assert sorted(lanes.select(names).rows()) == sorted(
        (row["layer"], row["channel"], row["lane"], row["tokens"])
        for row in slow.channels
        if row["layer"] != 2
    )
    assert table.lane_windows is None  # these results have no loads by step
    assert replace(table, tidy=replace(table.tidy, lanes=None)).lanes is None
    assert table.narrowed(steps=(1, 2)).heads["window"].to_list() == [0] * 9


def test_loads_of_lanes_by_window_are_narrowed_like_rows(both: tuple[Table, Results]) -> None:
    table, _ = both
    rows = table.tidy.rows.select("configuration", "layer", "kv_head", "window", "decided")
    known = replace(table, tidy=replace(table.tidy, lane_windows=rows))
    kept = known.narrowed(steps=(1, 2), kv_heads=[0]).lane_windows
    assert kept is not None
    assert set(kept.select("kv_head", "window").rows()) == {(0, 1), (0, 2)}


def test_baselines_are_those_shown_or_those_given(both: tuple[Table, Results]) -> None:
    table, _ = both
    assert len(table.references) == 1
    nothing = table.narrowed(configurations=[])
    assert len(nothing.references) == 0
    given = replace(nothing, baselines=table.configurations, _cache={})
    assert len(given.references) == 1


def _in_rows(name: str) -> str:
    return "step" if name == "window" else name
