import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.dashboard.block_map import EMPTY, HUES, TONES, block_map, mixed
from analysis.dashboard.inspection import Inspection, inspect, trace_path
from analysis.dashboard.inspector_costs import timeline, total_ns
from analysis.dashboard.inspector_view import marked_text, states
from analysis.figures import Drawing
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import Results
from tracegen.base.errors import UserError


@pytest.fixture(scope="module")
def run(replayed: Path) -> Results:
    return Results.open(replayed)


@pytest.fixture(scope="module")
def table(run: Results) -> Table:
    return tidy([run])


def described(table: Table, policy: str) -> dict[str, Any]:
    return table.configurations.filter(policy=policy).row(0, named=True)


@pytest.fixture(scope="module")
def step(run: Results, table: Table) -> Inspection:
    return inspect(run, described(table, "topk"), layer=1, kv_head=1, q_head=1, step=5)


def test_the_inspected_selection_is_the_policys_own(run: Results, step: Inspection) -> None:
    from pimreplay.policies import load_policy
    from pimreplay.replay.kv_head import selections
    from pimreplay.replay.settings import Settings
    from pimreplay.selection.budget import Budget
    from tracegen.trace.store import Trace

    trace = Trace.open(trace_path(run, run.config["traces"][0]["name"])[0])
    packed = selections(trace, [1], load_policy("topk"), Budget.parse("64"), Settings())[1]
    mask = np.unpackbits(packed, axis=-1, count=trace.manifest.tokens).astype(bool)
    assert np.array_equal(step.selected, mask[2 * 1 + 1, 5, : 300 + 5 + 1])


def test_the_mass_missed_is_that_of_exact_attention(step: Inspection) -> None:
    assert step.weight.sum() == pytest.approx(1)
    best = np.sort(step.weight)[-64:].sum()
    assert step.mass_kept_ratio == pytest.approx(best, abs=1e-3)
    token, weight = step.missed()[0]
    assert not step.selected[token]
    assert weight == step.weight[~step.selected].max()


def test_its_mean_over_heads_is_what_the_results_say(run: Results, table: Table) -> None:
    row = described(table, "starc")
    kept = [
        inspect(run, row, layer=1, kv_head=0, q_head=q_head, step=7).mass_kept_ratio
        for q_head in (0, 1)
    ]
    steps = run.tables["steps"].filter(policy="starc", layer=1, kv_head=0, step=7).collect()
    assert np.mean(kept) == pytest.approx(steps["attention_mass_ratio"].item(), abs=1e-4)


def test_its_blocks_are_what_the_results_counted(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "starc"), layer=1, kv_head=0, q_head=0, step=7)
    steps = run.tables["steps"].filter(policy="starc", layer=1, kv_head=0, step=7).collect()
    assert one.group_blocks.sum() == steps["blocks"].item()
    assert len(one.key_rows) == steps["key_rows"].item()


def test_a_device_from_a_file_elsewhere_is_known_by_what_the_run_recorded(
    replayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from pimreplay.cli import app

    device = tmp_path / "devices" / "elsewhere.toml"
    device.parent.mkdir()
    device.write_text('schema = 1\nbase = "attacc_hbm3_bg"\ntitle = "Named by its path"\n')
    run = Results.open(replayed)
    trace = trace_path(run, run.config["traces"][0]["name"])[0]
    out = ["--hardware", str(device), "--workers", "0", "--out", str(tmp_path / "results")]
    arguments = ["run", trace, "--policy", "starc", "--budget", "64", "--dense-layers", "1"]
    CliRunner().invoke(app, [*arguments, *out], catch_exceptions=False)
    device.unlink()
    monkeypatch.chdir(tmp_path)
    own = Results.open(tmp_path / "results")
    one = inspect(own, described(tidy([own]), "starc"), layer=1, kv_head=0, q_head=0, step=7)
    steps = own.tables["steps"].filter(policy="starc", layer=1, kv_head=0, step=7).collect()
    assert one.group_blocks.sum() == steps["blocks"].item()
    assert len(one.key_rows) == steps["key_rows"].item()


def test_keys_are_those_that_the_device_stored(replayed: Path, tmp_path: Path) -> None:
    """Few bits make a policy choose otherwise; its mass is still of what was captured."""
    from typer.testing import CliRunner

    from pimreplay.cli import app

    trace, _ = trace_path(Results.open(replayed), "words")
    stored = ["--kv-bits", "4", "--kv-quantisation", "kivi", "--dense-layers", "0"]
    out = ["--hardware", "attacc_hbm3_bank", "--workers", "0", "--out", str(tmp_path / "results")]
    arguments = ["run", trace, "--policy", "quest", "--budget", "64", *stored, *out]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    own = Results.open(tmp_path / "results")
    row = described(tidy([own]), "quest")
    seen = [inspect(own, row, layer=1, kv_head=0, q_head=q_head, step=7) for q_head in (0, 1)]
    steps = own.tables["steps"].filter(layer=1, kv_head=0, step=7).collect()
    assert seen[0].group_blocks.sum() == steps["blocks"].item()
    mass = np.mean([one.mass_kept_ratio for one in seen])
    assert mass == pytest.approx(steps["attention_mass_ratio"].item(), abs=1e-4)


def test_a_run_that_recorded_no_hardware_is_refused(run: Results, table: Table) -> None:
    from dataclasses import replace

    other = replace(run, config=run.config | {"hardware": []})
    with pytest.raises(UserError, match="records no values of attacc_hbm3_bank"):
        inspect(other, described(table, "topk"), layer=1, kv_head=0, q_head=0, step=0)


def test_a_layer_kept_dense_reads_everything(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "topk"), layer=0, kv_head=0, q_head=0, step=0)
    assert one.dense_layer
    assert one.selected.all()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {"step": 999},
            "hold no layer 1, KV head 0, step 999; known: layer 0-1; KV head 0-1; step 0-11",
        ),
        ({"q_head": 2}, "query head 2 does not exist here; known: 0 to 1"),
        ({"layer": 9}, "hold no layer 9"),
        ({"kv_head": 9}, "hold no layer 1, KV head 9"),
    ],
)
def test_what_does_not_exist_is_said(
    run: Results, table: Table, wrong: dict[str, int], problem: str
) -> None:
    place = {"layer": 1, "kv_head": 0, "q_head": 0, "step": 0} | wrong
    with pytest.raises(UserError, match=problem):
        inspect(run, described(table, "topk"), **place)


def test_the_costs_are_those_of_the_results(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "starc"), layer=1, kv_head=0, q_head=0, step=0)
    row = run.tables["steps"].filter(policy="starc", layer=1, kv_head=0, step=0).collect()
    for name in ("score_ns", "key_rows", "activation_pj", "clustering_ns"):
        assert one.costs[name] == row[name].item()
    steps = run.tables["steps"].filter(policy="starc", layer=1, kv_head=0).collect()
    assert len(steps) == 12
    assert one.usual["clustering_ns"] == pytest.approx(steps["clustering_ns"].sum() / 12)
    assert one.costs["clustering_ns"] > 2 * one.usual["clustering_ns"], "the prompt, at step 0"
    bars = timeline(one.costs, total_ns(one.costs)).data
    names = [bar["name"] for bar in bars]
    assert names == ["clustering", "scoring", "score", "softmax", "context", "move", "remap"]
    ends = [bar["base"][0] + bar["x"][0] for bar in bars]
    assert [bar["base"][0] for bar in bars[1:]] == pytest.approx(ends[:-1])
    axis = timeline(one.costs, 2 * total_ns(one.costs)).layout["xaxis"]
    assert axis["range"][1] == pytest.approx(2.04 * ends[-1]), "one scale for steps side by side"


def test_the_marked_text_is_the_text_with_the_selection_marked(step: Inspection) -> None:
    parts = list(marked_text(step))
    assert "".join(part.children for part in parts) == "".join(step.text)
    marked = " ".join(
        part.children for part in parts if getattr(part, "className", None) == "selected"
    )
    tokens = [int(number) for number in re.findall(r"word(\d+)", marked)]
    assert tokens == np.flatnonzero(step.selected).tolist()


def test_missed_tokens_are_marked_only_when_heavy(step: Inspection) -> None:
    missed = np.flatnonzero(states(step) == 2)
    assert all(step.weight[token] > 0.01 and not step.selected[token] for token in missed)


def colours(drawing: Drawing) -> np.ndarray:
    """Return the colour of each cell of a block map."""
    trace = drawing.data[0]
    palette = [colour for _, colour in trace["colorscale"][::2]]
    return np.array([[palette[cell] for cell in row] for row in trace["z"]])


def test_the_block_map_holds_one_cell_a_token(step: Inspection) -> None:
    drawing = block_map(step)
    go.Figure(drawing.plain())
    cells = colours(drawing)
    tones = {name: mixed(HUES[0], part) for name, part in TONES.items()}
    assert cells.shape == (16, len(step.blocks))
    assert (cells == tones["selected"]).sum() == step.selected.sum()
    assert (cells == tones["read, not selected"]).sum() == (step.read & ~step.selected).sum()
    lit = (cells == tones["selected"]) | (cells == tones["read, not selected"])
    assert lit.any(axis=0).sum() == step.blocks.sum()
    assert (cells != EMPTY).sum() == len(step.selected)


def test_clusters_have_hues_and_a_cluster_one(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "starc"), layer=1, kv_head=0, q_head=0, step=7)
    drawing = block_map(one)
    cells, clusters = np.array(drawing.data[0]["z"]), np.array(drawing.data[0]["customdata"])
    assert set(clusters.ravel()) >= set(one.cluster)
    for cluster in np.unique(one.cluster[one.cluster >= 0]):
        hues = {(int(cell) - 1) // len(TONES) for cell in cells[clusters == cluster]}
        assert hues == {cluster % len(HUES)}


def test_a_changed_trace_is_refused(run: Results, table: Table) -> None:
    from dataclasses import replace

    traces = [run.config["traces"][0] | {"hash": "0" * 64}]
    other = replace(run, config=run.config | {"traces": traces})
    with pytest.raises(UserError, match="holds another trace than the run replayed"):
        inspect(other, described(table, "topk"), layer=1, kv_head=0, q_head=0, step=0)
