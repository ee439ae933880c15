"""A folder of traces, one a prompt: replayed alike, told as means with an interval."""

import numpy as np
import polars as pl
import pytest

from analysis.results.prompts import interval, over_prompts
from analysis.results.summary import overview
from analysis.results.tidying import tidy
from pimreplay.results.reader import Results

RUN = (
    *("--policy", "dense", "--policy", "quest", "--budget", "32", "--dense-layers", "0"),
    *("--workers", "0"),
)


@pytest.fixture
def prompts(make_trace, tmp_path):
    """Return a folder of three traces of one model, and of something else."""
    folder = tmp_path / "needles"
    for seed in range(3):
        make_trace(folder / f"prompt_{seed}", seed=seed, prompt_tokens=96 + 16 * seed)
    (folder / ".prompt_3.partial-01").mkdir()
    (folder / "notes.txt").write_text("not a trace")
    return folder


@pytest.fixture
def results(pimreplay, prompts, tmp_path):
    """Return the results of a run over the folder, and what it printed."""
    answer = pimreplay("run", prompts, *RUN, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    return Results.open(tmp_path / "out"), answer.out


def test_a_folder_of_traces_has_one_set_of_rows_a_trace(results):
    run, printed = results
    names = [f"needles/prompt_{seed}" for seed in range(3)]
    assert "traces needles: 3 prompts, SYNTHETIC" in printed
    assert "96 to 128 prompt tokens + 8 steps" in printed
    assert [(one["name"], one["prompts"]) for one in run.config["traces"]] == [
        (name, "needles") for name in names
    ]
    counted = run.table("steps").group_by("trace", "policy").len().sort("trace", "policy")
    assert counted.rows() == [(name, one, 32) for name in names for one in ("dense", "quest")]


def test_a_method_is_told_as_its_mean_over_prompts_with_an_interval(results):
    run, _ = results
    table = tidy([run])
    found = over_prompts(table)
    each = overview(table)
    assert found.select("prompts", "n_prompts", "policy").rows() == [
        ("needles", 3, "dense"),
        ("needles", 3, "quest"),
    ]
    for row in found.to_dicts():
        own = each.filter(policy=row["policy"])
        for name in ("latency", "attention_mass", "latency_vs_dense"):
            assert row[name] == pytest.approx(own[name].mean())
            assert own[name].min() <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
            assert row[f"{name}_high"] <= own[name].max()


def test_terminal_and_report_show_the_interval(results, capsys, tmp_path):
    from typer.testing import CliRunner

    from analysis.cli import app

    run, _ = results
    printed = CliRunner().invoke(app, ["compare", run.path], catch_exceptions=False).output
    printed = " ".join(printed.split())
    assert "95% interval of the mean: percentile bootstrap over prompts" in printed
    page = tmp_path / "page.html"
    CliRunner().invoke(app, ["report", run.path, "--out", str(page)], catch_exceptions=False)
    assert "Every method, over all prompts" in page.read_text()


def test_a_trace_given_alone_has_no_interval(pimreplay, trace_path, tmp_path):
    answer = pimreplay("run", trace_path, *RUN, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(over_prompts(tidy([Results.open(tmp_path / "out")]))) == 0


def test_a_sweep_takes_folders_of_traces(pimreplay, prompts, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        'traces = ["needles"]\npolicies = ["quest"]\nbudgets = [16, 32]\n'
        'hardware = ["attacc_hbm3_bank"]\n'
    )
    answer = pimreplay("sweep", file, "--out", tmp_path / "out", "--workers", "0")
    assert answer.code == 0, answer.err
    assert "6 of 6 points" in answer.out
    means = over_prompts(tidy([Results.open(tmp_path / "out")]))
    assert means.select("budget", "n_prompts").rows() == [("16", 3), ("32", 3)]


def test_traces_that_differ_in_more_than_their_prompt_are_refused(
    pimreplay, make_trace, prompts, tmp_path
):
    make_trace(prompts / "other", layers=3)
    answer = pimreplay("run", prompts, *RUN, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "other has layers (0, 1, 2) and prompt_0 has (0, 1)" in answer.err
    assert "differ in their prompts alone" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_the_interval_is_that_of_a_bootstrap_written_out():
    numbers = np.random.default_rng(3).gamma(2.0, size=(12, 2))
    random = np.random.default_rng(7)
    means = np.array([random.choice(numbers, 12).mean(axis=0) for _ in range(20_000)])
    expected = np.quantile(means, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(interval(numbers), expected, rtol=0.02)


def test_equal_prompts_leave_no_doubt_and_one_prompt_no_interval():
    low, high = interval(np.full((4, 1), 2.5))
    assert low.tolist() == high.tolist() == [2.5]
    assert np.isnan(interval(np.ones((1, 2)))).all()


def test_what_is_unknown_for_one_prompt_is_unknown_for_all():
    low, high = interval(np.array([[1.0, 2.0], [np.nan, 3.0]]))
    assert np.isnan([low[0], high[0]]).all()
    assert pl.Series([low[1], high[1]]).is_between(2.0, 3.0).all()
