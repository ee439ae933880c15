"""`pimreplay sweep`, as a user types it: grids, failures, kills, resumption, Ray."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from pimreplay.results.reader import Results

TABLES = ("steps", "layers", "channels", "points", "tokens")
GRID = """
traces = ["{trace}"]
policies = ["dense", "topk", "starc", "starc@sequential"]
budgets = [16, "25%"]
hardware = ["attacc_hbm3_bank", "attacc_hbm3_buffer"]
dense_layers = 1
"""


@pytest.fixture
def sweep_file(trace_path, tmp_path):
    """Return a sweep file of 16 points on the tiny trace."""
    file = tmp_path / "sweep.toml"
    file.write_text(GRID.format(trace=trace_path))
    return file


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.parquet").read_bytes() for name in TABLES}


def workers_of(group: int) -> list[int]:
    """Return the worker processes of a command: forks of its fork server."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[2]) == group and b"forkserver" in command:
            found[int(entry.name)] = int(fields[1])
    return [pid for pid, parent in found.items() if parent in found]


def test_the_grid_is_the_product_of_its_lists(pimreplay, sweep_file, tmp_path):
    answer = pimreplay("sweep", sweep_file, "--out", tmp_path / "out", "--workers", "0")
    assert answer.code == 0, answer.err
    assert "16 of 16 points" in answer.out
    results = Results.open(tmp_path / "out")
    points = results.table("points")
    assert len(points) == 4 * 2 * 2
    assert points["status"].unique().to_list() == ["ok"]
    assert points["point"].n_unique() == 16
    assert results.config["kind"] == "sweep"


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(pimreplay, sweep_file, tmp_path):
    out = tmp_path / "out"
    assert pimreplay("sweep", sweep_file, "--out", out, "--workers", "0").code == 0
    first = content(out)
    answer = pimreplay("sweep", sweep_file, "--out", out, "--workers", "0")
    assert answer.code == 0, answer.err
    assert "resuming: 64 of 64 parts are there already" in answer.out
    assert content(out) == first


def test_a_damaged_part_is_computed_again_with_one_line_of_notice(pimreplay, sweep_file, tmp_path):
    out = tmp_path / "out"
    assert pimreplay("sweep", sweep_file, "--out", out, "--workers", "0").code == 0
    first = content(out)
    parts = sorted((out / "cache").rglob("*.part"))
    parts[3].write_bytes(parts[4].read_bytes())
    answer = pimreplay("sweep", sweep_file, "--out", out, "--workers", "0")
    assert answer.code == 0, answer.err
    assert "note: 1 cached parts were damaged and are computed again" in answer.out
    assert "resuming: 63 of 64 parts" in answer.out
    assert content(out) == first


def test_a_sweep_that_grows_computes_only_what_is_new(pimreplay, sweep_file, tmp_path):
    out = tmp_path / "out"
    assert pimreplay("sweep", sweep_file, "--out", out, "--workers", "0").code == 0
    sweep_file.write_text(sweep_file.read_text().replace('[16, "25%"]', '[8, 16, "25%"]'))
    answer = pimreplay("sweep", sweep_file, "--out", out, "--workers", "0")
    assert answer.code == 0, answer.err
    assert "resuming: 64 of 96 parts" in answer.out
    assert "replayed 32 parts" in answer.out


def test_a_point_that_fails_is_a_row_and_the_exit_code_is_1(
    pimreplay, make_trace, trace_path, tmp_path
):
    make_trace(tmp_path / "long", prompt_tokens=200)
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'traces = ["{trace_path}", "long"]\npolicies = ["topk"]\nbudgets = [16, 150]\n'
        'hardware = ["attacc_hbm3_bank"]\n'
    )
    answer = pimreplay("sweep", file, "--out", tmp_path / "out", "--workers", "0")
    assert answer.code == 1
    assert "1 of 4 points failed, the first is tiny/topk" in answer.err
    assert "150 tokens are beyond the context of 104 tokens" in answer.err
    results = Results.open(tmp_path / "out")
    points = results.table("points")
    failed = points.filter(pl.col("status") == "failed")
    assert failed.select("trace", "budget").rows() == [("tiny", "150")]
    assert "beyond the context" in failed["error"][0]
    kept = results.table("steps")
    assert kept.select("trace", "budget").unique().sort(pl.all()).rows() == [
        ("long", "150"),
        ("long", "16"),
        ("tiny", "16"),
    ]


def test_traces_and_results_may_be_urls(pimreplay, sweep_file, trace_path, tmp_path):
    sweep_file.write_text(GRID.format(trace=trace_path.as_uri()))
    out = tmp_path / "out"
    answer = pimreplay("sweep", sweep_file, "--out", out.as_uri(), "--workers", "0")
    assert answer.code == 0, answer.err
    assert len(Results.open(out.as_uri()).table("points")) == 16


BAD_FILES = {
    "a switch for memory": (
        GRID + "memory_gb = true\n",
        "memory_gb True: not a size of memory",
        "give gigabytes above 0",
    ),
    "layers that run backwards": (GRID + 'layers = ["4-3"]\n', "layers '4-3'", "runs backwards"),
    "a layer and a half": (GRID + "layers = [1.5]\n", "layers '1.5'", "give 3, 0-4 or 0,2,5"),
    "an unknown key": (
        GRID + "polices = []\n",
        "key 'polices' is unknown; known: ",
        "did you mean policies?",
    ),
    "an empty grid": (
        GRID.replace('[16, "25%"]', "[]"),
        "budgets is empty, so the grid has no point",
        "at least one entry",
    ),
    "a missing list": ('traces = ["{trace}"]\n', "key 'policies' is missing; give a list", ""),
    "two points with one name": (
        GRID.replace('"topk"', '"topk", "topk:gqa=per_query_head"'),
        "two points have one name, tiny/topk:gqa=per_query_head@sequential/16/attacc_hbm3_bank",
        "once",
    ),
    "a budget of zero": (GRID.replace("16", "0"), "sweep.toml: budget: 0 tokens", "at least 1"),
    "a budget beyond every context": (
        GRID.replace("16", "9999"),
        "sweep.toml: budget: 9999 tokens are beyond the context of 104 tokens",
        "",
    ),
    "an unknown policy": (
        GRID.replace("topk", "topkk"),
        "sweep.toml: policy 'topkk': unknown",
        "did you mean topk?",
    ),
    "a trace that is not there": (
        GRID.replace("{trace}", "nowhere"),
        "nowhere: no trace here",
        "tracegen capture",
    ),
    "no TOML": ("traces = [", "not a usable TOML file", "correct the file"),
    "a string for a list": (
        GRID.replace('["dense"', '"dense" #'),
        "policies = 'dense' is not a list",
        "write one",
    ),
    "a layer that the trace lacks": (
        GRID + 'layers = ["0-9"]\n',
        "sweep.toml: layers 2: not there; known: 0-1",
        "",
    ),
    "an unknown fidelity": (
        GRID + 'fidelity = "x"\n',
        "sweep.toml: fidelity 'x': unknown",
        "known: analytic, command",
    ),
    "half a stack": (GRID + "stacks = 0.5\n", "sweep.toml: stacks = 0.5; give", "at least 1"),
    "elements of three bits": (GRID + "kv_bits = 3\n", "sweep.toml: kv_bits = 3", "4, 8, 16, 32"),
    "no quantisation": (
        GRID + 'kv_bits = 4\nkv_quantisation = "kiwi"\n',
        "sweep.toml: kv_quantisation 'kiwi': unknown",
        "did you mean kivi?",
    ),
    "a list for a device": (GRID + "device = [1]\n", "device [1]: not usable here", "auto, cpu"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_sweep_file_is_one_sentence_and_leaves_nothing(case, pimreplay, trace_path, tmp_path):
    text, start, hint = BAD_FILES[case]
    file = tmp_path / "sweep.toml"
    file.write_text(text.replace("{trace}", str(trace_path)))
    answer = pimreplay("sweep", file, "--out", tmp_path / "out")
    assert answer.code == 2
    assert start in answer.err
    assert hint in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_sweeps_is_refused_and_kept(pimreplay, sweep_file, tmp_path):
    answer = pimreplay("sweep", sweep_file, "--out", tmp_path)
    assert answer.code == 2
    assert "is not a sweep's folder, nothing was overwritten" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


def test_a_missing_sweep_file_is_named(pimreplay, tmp_path):
    answer = pimreplay("sweep", tmp_path / "none.toml", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "none.toml: no such file" in answer.err


@pytest.fixture
def long_sweep(make_trace, tmp_path):
    """Return a sweep file that keeps two workers busy for some seconds."""
    make_trace(tmp_path / "trace", layers=4, kv_heads=4, prompt_tokens=600)
    file = tmp_path / "sweep.toml"
    file.write_text(GRID.format(trace="trace"))
    return file


def wait_for_parts(out: Path, at_least: int) -> None:
    for _ in range(3600):
        if len(list((out / "cache").rglob("*.part"))) >= at_least:
            return
        time.sleep(0.05)
    raise AssertionError("the sweep wrote no parts")


def test_a_sweep_killed_at_any_moment_resumes_to_the_same_bytes(
    pimreplay, spawn, long_sweep, tmp_path
):
    out = tmp_path / "killed"
    process = spawn("sweep", long_sweep, "--out", out, "--workers", "2")
    wait_for_parts(out, at_least=10)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "run.json").exists()
    answer = pimreplay("sweep", long_sweep, "--out", out, "--workers", "0")
    assert answer.code == 0, answer.err
    assert "resuming: " in answer.out
    assert pimreplay("sweep", long_sweep, "--out", tmp_path / "whole", "--workers", "2").code == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_of_a_command_that_was_killed_end_in_silence(spawn, long_sweep, tmp_path, how):
    out = tmp_path / "out"
    process = spawn("sweep", long_sweep, "--out", out, "--workers", "2")
    wait_for_parts(out, at_least=5)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=60)  # all that held the other end of stderr are gone
    assert process.returncode == -how
    assert err == ""


def test_a_worker_that_is_killed_costs_nothing_but_time(spawn, pimreplay, long_sweep, tmp_path):
    out = tmp_path / "out"
    process = spawn("sweep", long_sweep, "--out", out, "--workers", "2")
    wait_for_parts(out, at_least=5)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    printed, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "16 of 16 points" in printed


def test_ctrl_c_keeps_the_finished_parts_and_says_so_in_one_sentence(spawn, long_sweep, tmp_path):
    out = tmp_path / "out"
    process = spawn("sweep", long_sweep, "--out", out, "--workers", "2")
    wait_for_parts(out, at_least=5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("error: interrupted")  # progress may stand before it
    assert [path.name for path in out.iterdir()] == ["cache"]


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is an extra and is not installed"
)
def test_a_local_ray_cluster_gives_the_same_bytes(spawn, pimreplay, sweep_file, tmp_path):
    process = spawn(
        "sweep", sweep_file, "--out", tmp_path / "ray", "--ray", "local", "--workers", "2"
    )
    printed, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "with 2 workers" in printed
    assert pimreplay("sweep", sweep_file, "--out", tmp_path / "here", "--workers", "0").code == 0
    assert content(tmp_path / "ray") == content(tmp_path / "here")


RAY_DEATH = """
import os
from pimreplay.study.ray_workers import RayCrew
crew = RayCrew("local", 2, os._exit)
crew.send(1, 3)
print(crew.answers(150))
crew.send(1, 4)
print(crew.answers(150))
crew.close()
"""


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is an extra and is not installed"
)
def test_a_ray_worker_that_dies_is_an_answer_and_is_replaced():
    done = subprocess.run(
        [sys.executable, "-c", RAY_DEATH], capture_output=True, text=True, timeout=400, check=True
    )
    assert done.stdout.count("[(1, Died(reason='a Ray worker died'))]") == 2


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is an extra and is not installed"
)
def test_no_ray_cluster_at_the_address_is_one_sentence(pimreplay, sweep_file, tmp_path):
    answer = pimreplay("sweep", sweep_file, "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert answer.code == 2
    assert "--ray 127.0.0.1:1: no Ray cluster answers there (" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_without_ray_the_extra_is_named(pimreplay, sweep_file, tmp_path, monkeypatch):
    monkeypatch.setattr("pimreplay.study.ray_workers.find_spec", lambda name: None)
    answer = pimreplay("sweep", sweep_file, "--out", tmp_path / "out", "--ray", "auto")
    assert answer.code == 2
    assert "pip install 'pimreplay[ray]'" in answer.err
