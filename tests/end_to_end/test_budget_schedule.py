"""Budgets by layer and KV head: PyramidKV's formula, files, and a replay with one."""

import polars as pl
import pytest

from pimreplay.selection.budget import Budget
from pimreplay.selection.budget_schedule import BudgetSchedule, parse_budget, schedule_from
from tracegen.base.errors import UserError


def test_the_pyramid_falls_evenly_from_the_first_layer_to_a_twentieth_of_the_mean():
    # (1000 - 50) // 4 less a layer, from 2 * 500 - 25 = 975 at the first to 500 // 20 at the last
    found = parse_budget("pyramid:tokens=500,layers=5")
    assert isinstance(found, BudgetSchedule)
    assert found.layers == ((0, (975,)), (1, (738,)), (2, (501,)), (3, (264,)), (4, (27,)))
    assert str(found) == "pyramid:tokens=500,layers=5,beta=20"
    assert parse_budget(str(found)) == found


def test_every_kv_head_of_a_pyramids_layer_has_its_tokens():
    found = parse_budget("pyramid:tokens=500,layers=5")
    assert {str(found.of(3, kv_head)) for kv_head in range(8)} == {"264"}


def test_a_file_names_tokens_by_layer_or_by_kv_head(tmp_path):
    file = tmp_path / "adaptive.toml"
    file.write_text("[layers]\n1 = 24\n0 = [8, 40]\n")
    found = parse_budget(str(file))
    assert (str(found), found.of(0, 0), found.of(0, 1)) == ("adaptive", Budget(8), Budget(40))
    assert found.of(1, 5) == Budget(24)


def test_what_a_run_records_gives_the_schedule_back():
    found = schedule_from({"layers": {"3": [1, 2], "11": 7}}, "mine", "file")
    assert schedule_from(found.record(), "mine", "run.json") == found


def test_a_plain_budget_is_every_kv_heads():
    assert parse_budget("10%").of(7, 3) == Budget(ratio=0.1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pyramid", "tokens is missing"),
        ("pyramid:tokens=5", "layers is missing"),
        ("pyramid:tokens=0,layers=4", "tokens=0 is too small"),
        ("pyramid:tokens=5,layers=1", "layers=1 is too small"),
        ("pyramid:tokens=5,layers=99999999", "give at most 10,000"),
        ("pyramid:tokens=5,layers=4,gamma=2", "unknown parameter 'gamma'"),
        ("pyramid:tokens=x,layers=4", "give a whole number"),
        ("pyramids:tokens=5", "is neither tokens"),
        ("nowhere.toml", "no such file"),
    ],
)
def test_a_schedule_that_is_none_is_refused(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_budget(text)


@pytest.mark.parametrize("line", ["1 = 0", "1 = -3", "1 = 2.5", "1 = true", "1 = []", "x = 4"])
def test_a_file_with_something_else_than_tokens_is_refused(tmp_path, line):
    file = tmp_path / "bad.toml"
    file.write_text(f"[layers]\n{line}\n")
    with pytest.raises(UserError, match=r"bad\.toml: layers\.. = .*; give a layer's number"):
        parse_budget(str(file))


def test_a_kv_head_that_a_schedule_does_not_name_is_refused():
    found = schedule_from({"layers": {"0": [8, 9]}}, "mine", "file")
    with pytest.raises(UserError, match="mine: names no tokens for layer 0, KV head 2"):
        found.of(0, 2)
    with pytest.raises(UserError, match="9 tokens for layer 0 are beyond the context of 8 tokens"):
        found.check(8)


@pytest.fixture
def schedule(tmp_path):
    """Return the file of a schedule for the tiny trace."""
    file = tmp_path / "adaptive.toml"
    file.write_text("[layers]\n0 = [8, 40]\n1 = 24\n")
    return file


def selected(pimreplay, tmp_path, trace, *arguments):
    from pimreplay.results.reader import Results

    answer = pimreplay("run", trace, *arguments, "--workers", "0", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    run = Results.open(tmp_path / "out")
    steps = run.table("steps").group_by("layer", "kv_head").agg(pl.col("selected_tokens").unique())
    return run, sorted(steps.rows())


def test_each_kv_head_reads_its_own_budget(pimreplay, tiny_trace, schedule, tmp_path):
    from analysis.results.tidying import tidy

    asked = ("--policy", "topk", "--budget", schedule, "--dense-layers", "0")
    run, found = selected(pimreplay, tmp_path, tiny_trace.where, *asked)
    assert found == [(0, 0, [8.0]), (0, 1, [40.0]), (1, 0, [24.0]), (1, 1, [24.0])]
    assert run.config["budget_schedules"] == [
        {"name": "adaptive", "layers": {"0": [8, 40], "1": [24]}}
    ]
    assert tidy([run]).configurations["budget_tokens"].to_list() == [24.0]


def test_dense_layers_need_no_budget(pimreplay, tiny_trace, tmp_path):
    file = tmp_path / "last.toml"
    file.write_text("[layers]\n1 = 24\n")
    asked = ("--policy", "topk", "--budget", file)
    _, found = selected(pimreplay, tmp_path, tiny_trace.where, *asked, "--dense-layers", "1")
    assert found[2:] == [(1, 0, [24.0]), (1, 1, [24.0])]
    refused = pimreplay("run", tiny_trace.where, *asked, "--dense-layers", "0", "--out", "x")
    assert refused.code == 2
    assert "budget last: names no tokens for layer 0, KV head 0" in refused.err


def test_the_inspector_reads_the_schedule_that_the_run_recorded(
    pimreplay, tiny_trace, schedule, tmp_path
):
    pytest.importorskip("dash")
    from analysis.dashboard.inspection import inspect
    from analysis.results.tidying import tidy

    asked = ("--policy", "topk", "--budget", schedule, "--dense-layers", "0")
    run, _ = selected(pimreplay, tmp_path, tiny_trace.where, *asked)
    schedule.unlink()
    described = tidy([run]).configurations.to_dicts()[0]
    one = inspect(run, described, layer=0, kv_head=1, q_head=0, step=3)
    assert one.selected.sum() == 40
