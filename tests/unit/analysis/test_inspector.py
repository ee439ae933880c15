import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.dashboard.inspection import Inspection, inspect, trace_path
from analysis.dashboard.inspector_view import block_map, marked_text, states
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


def test_a_run_that_recorded_no_hardware_is_refused(run: Results, table: Table) -> None:
    from dataclasses import replace

    other = replace(run, config=run.config | {"hardware": []})
    with pytest.raises(UserError, match="records no values of attacc_hbm3_bank"):
        inspect(other, described(table, "topk"), layer=1, kv_head=0, q_head=0, step=0)


def test_a_layer_kept_dense_reads_everything(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "topk"), layer=0, kv_head=0, q_head=0, step=0)
    assert one.dense_layer
    assert one.selected.all()


def test_numbers_beyond_the_trace_are_brought_inside(run: Results, table: Table) -> None:
    one = inspect(run, described(table, "topk"), layer=1, kv_head=0, q_head=99, step=999)
    assert (one.q_head, one.step) == (1, 11)


def test_the_marked_text_is_the_text_with_the_selection_marked(step: Inspection) -> None:
    parts = list(marked_text(step))
    assert "".join(part.children for part in parts) == "".join(step.text)
    marked = " ".join(part.children for part in parts if getattr(part, "className", None) == "read")
    tokens = [int(number) for number in re.findall(r"word(\d+)", marked)]
    assert tokens == np.flatnonzero(step.selected).tolist()


def test_missed_tokens_are_marked_only_when_heavy(step: Inspection) -> None:
    missed = np.flatnonzero(states(step) == 2)
    assert all(step.weight[token] > 0.01 and not step.selected[token] for token in missed)


def test_the_block_map_holds_one_cell_a_token(step: Inspection) -> None:
    drawing = block_map(step)
    go.Figure(drawing.plain())
    cells = np.array(drawing.data[0]["z"])
    assert cells.shape == (16, len(step.blocks))
    assert (cells == 3).sum() == step.selected.sum()
    assert ((cells == 2) | (cells == 3)).any(axis=0).sum() == step.blocks.sum()
    assert (cells > 0).sum() == len(step.selected)


def test_a_changed_trace_is_refused(run: Results, table: Table) -> None:
    from dataclasses import replace

    traces = [run.config["traces"][0] | {"hash": "0" * 64}]
    other = replace(run, config=run.config | {"traces": traces})
    with pytest.raises(UserError, match="holds another trace than the run replayed"):
        inspect(other, described(table, "topk"), layer=1, kv_head=0, q_head=0, step=0)
