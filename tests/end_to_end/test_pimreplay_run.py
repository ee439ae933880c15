"""`pimreplay run`, `select`, `explain` and `list`, as a user types them."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pimreplay.results.reader import Results
from tracegen.synthetic import Synthesis, synthesize_trace

RUN = ("--hardware", "attacc_hbm3_bank", "--budget", "32", "--workers", "0")


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_several_policies_are_replayed_into_one_results_folder(pimreplay, trace_path, tmp_path):
    out = tmp_path / "new" / "results"
    policies = ("dense", "topk", "starc", "starc@sequential")
    asked = [word for one in policies for word in ("--policy", one)]
    answer = pimreplay("run", trace_path, *asked, *RUN, "--out", out, "--dense-layers", "1")
    assert answer.code == 0, answer.err
    assert "dense layers: the model's first 1 (--dense-layers)" in answer.out
    assert "starc on clustered, starc on sequential" in answer.out
    assert "SYNTHETIC" in answer.out

    results = Results.open(out)
    steps = results.table("steps")
    assert len(steps) == 4 * 2 * 2 * 8  # points x layers x KV heads x steps
    sparse = steps.filter(~pl.col("dense_layer"), pl.col("policy") != "dense")
    assert sparse["selected_tokens"].unique().to_list() == [32.0]
    assert steps.filter(pl.col("dense_layer"))["attention_mass_ratio"].min() > 0.9999
    assert results.config["synthetic"] is True
    assert results.config["hardware"][0]["assumed"]
    assert left_in(out.parent) == ["results"]


def test_a_run_of_dense_layers_alone_says_so(pimreplay, trace_path, tmp_path):
    out = tmp_path / "results"
    answer = pimreplay("run", trace_path, "--policy", "topk", *RUN, "--out", out)
    assert answer.code == 0, answer.err
    assert "note: layers 0-1 are all dense layers" in answer.out


def test_policy_and_layout_are_independent_choices(pimreplay, trace_path, tmp_path):
    for layout in ("sequential", "clustered"):
        answer = pimreplay(
            "run", trace_path, "--policy", "starc", "--layout", layout, *RUN,
            "--out", tmp_path / layout, "--dense-layers", "0",
        )  # fmt: skip
        assert answer.code == 0, answer.err
    one, other = (
        Results.open(tmp_path / layout).table("steps") for layout in ("sequential", "clustered")
    )
    assert one["selected_tokens"].equals(other["selected_tokens"])
    assert one["attention_mass_ratio"].equals(other["attention_mass_ratio"])
    assert one["blocks"].sum() > other["blocks"].sum()


def test_the_same_run_in_worker_processes_gives_the_same_tables(pimreplay, trace_path, tmp_path):
    command = ("run", trace_path, "--policy", "starc", "--hardware", "attacc_hbm3_bank")
    for workers in (0, 2):
        answer = pimreplay(
            *command, "--budget", "25%", "--workers", workers, "--out", tmp_path / str(workers)
        )
        assert answer.code == 0, answer.err
    for name in ("steps", "layers", "channels", "points"):
        one, other = (tmp_path / str(workers) / f"{name}.parquet" for workers in (0, 2))
        assert one.read_bytes() == other.read_bytes()


def test_selected_tokens_are_what_the_run_counted(pimreplay, trace_path, tmp_path):
    answer = pimreplay(
        "select", trace_path, "--policy", "quest", "--budget", "48", "--layer", "0",
        "--out", tmp_path / "one.npz",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    with np.load(tmp_path / "one.npz") as file:
        assert file.files == ["selected_layer_0", "selected"]
        mask = np.unpackbits(file["selected"], axis=-1)[..., : 96 + 8]
    assert mask.shape == (4, 8, 104)
    assert set(mask.sum(-1).flatten()) <= set(
        range(33, 49)
    )  # whole pages, the last one partly seen


def test_selections_of_several_layers_have_an_array_each(pimreplay, trace_path, tmp_path):
    answer = pimreplay(
        "select", trace_path, "--policy", "topk", "--budget", "8", "--out", tmp_path / "all.npz"
    )
    assert answer.code == 0, answer.err
    with np.load(tmp_path / "all.npz") as file:
        assert sorted(file.files) == ["selected_layer_0", "selected_layer_1"]
    again = pimreplay(
        "select", trace_path, "--policy", "topk", "--budget", "8", "--out", tmp_path / "all.npz"
    )
    assert again.code == 2
    assert "exists already" in again.err


def test_a_file_cannot_hold_a_selection(pimreplay, trace_path, tmp_path):
    (tmp_path / "file").write_text("mine")
    where = tmp_path / "file" / "x.npz"
    answer = pimreplay("select", trace_path, "--policy", "topk", "--budget", "8", "--out", where)
    assert answer.code == 2
    assert f"{where}: {tmp_path / 'file'} is a file, not a folder" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_one_step_is_explained_as_tables(pimreplay, trace_path):
    answer = pimreplay(
        "explain", trace_path, "--policy", "starc", "--budget", "32", "--layer", "1", "--step", "3"
    )
    assert answer.code == 0, answer.err
    for words in ("100 tokens visible", "lanes", "PIM_MAC_AB", "MAC commands", "cycles", "energy"):
        assert words in answer.out


def test_the_list_names_every_kind_of_variant(pimreplay):
    answer = pimreplay("list")
    assert answer.code == 0, answer.err
    for words in ("starc", "usual layout: clustered", "sequential", "attacc_hbm3_bank", "assumed"):
        assert words in answer.out


BAD_INPUT = {
    "an unknown policy": (
        {"--policy": "topkk"},
        "policy 'topkk': unknown; known: ",
        "did you mean topk?",
    ),
    "an unknown parameter": (
        {"--policy": "starc:window=3"},
        "policy starc: unknown parameter 'window'; known: ",
        "did you mean",
    ),
    "an unknown layout": (
        {"--layout": "clusterd"},
        "layout 'clusterd': unknown; known: ",
        "did you mean clustered?",
    ),
    "an unknown device": (
        {"--hardware": "attacc_hbm3_bnk"},
        "hardware 'attacc_hbm3_bnk' is unknown; known: ",
        "did you mean attacc_hbm3_bank?",
    ),
    "an unknown fidelity": (
        {"--fidelity": "exact"},
        "error: fidelity 'exact': unknown; known: analytic, command",
        "",
    ),
    "elements of three bits": (
        {"--kv-bits": "3"},
        "error: kv_bits = 3: a KV element has 4, 8, 16, 32 bits",
        "choose one of them",
    ),
    "quantised elements of 16 bits": (
        {"--kv-quantisation": "kivi"},
        "error: kv_quantisation 'kivi': elements of 16 bits are not quantised",
        "give 4 or 8 bits",
    ),
    "a budget of zero": ({"--budget": "0"}, "budget: 0 tokens", "give at least 1"),
    "a budget beyond the context": (
        {"--budget": "105"},
        "budget: 105 tokens are beyond the context of 104 tokens",
        "give at most that",
    ),
    "a budget that is no number": ({"--budget": "many"}, "'many' is neither tokens", "10%"),
    "a budget of 5,000 digits": ({"--budget": "9" * 5000}, "is neither tokens (1024)", "10%"),
    "digits of another script": ({"--budget": "\u0663"}, "is neither tokens (1024)", "10%"),
    "endless memory": (
        {"--memory-gb": "inf"},
        "--memory-gb inf: not a size of memory",
        "at most 1,000,000",
    ),
    "endless clustering": (
        {"--policy": "retroinfer:iterations=999999999"},
        "retroinfer: iterations=999999999 is too large",
        "give at most 10000",
    ),
    "a layer that was not captured": (
        {"--layer": "0-4"},
        "--layer 2: not there; known: 0-1",
        "",
    ),
    "a layer that is no number": (
        {"--layer": "first"},
        "--layer 'first': 'first' is not a number or a range",
        "0-4",
    ),
    "a torch device that is not there": ({"--device": "tpu9"}, "device tpu9: not usable", "cpu"),
    "too little memory": (
        {"--memory-gb": "0.1"},
        "--memory-gb 0.1: one KV head",
        "allow that much",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_and_leaves_nothing(case, pimreplay, trace_path, tmp_path):
    changed, start, hint = BAD_INPUT[case]
    options = {
        "--policy": "topk",
        "--hardware": "attacc_hbm3_bank",
        "--budget": "32",
        "--out": str(tmp_path / "out"),
        **changed,
    }
    answer = pimreplay("run", trace_path, *[word for pair in options.items() for word in pair])
    assert answer.code == 2
    assert start in answer.err
    assert hint in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("option", ["--budget", "--hardware", "--out"])
def test_an_option_given_twice_is_refused(option, pimreplay, trace_path, tmp_path):
    command = ("run", trace_path, "--policy", "topk", "--policy", "dense", *RUN)
    answer = pimreplay(*command, "--out", tmp_path / "out", option, "64", f"{option}=64")
    assert answer.code == 2
    assert answer.err.startswith(f"error: {option}: given 3 times and takes one value")
    assert len(answer.err.strip().splitlines()) == 1
    assert left_in(tmp_path) == []


def test_an_output_folder_that_exists_is_refused_and_kept(pimreplay, trace_path, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    answer = pimreplay("run", trace_path, "--policy", "topk", *RUN, "--out", tmp_path)
    assert answer.code == 2
    assert "exists already, nothing was overwritten" in answer.err
    assert left_in(tmp_path) == ["kept.txt"]


def test_a_path_that_holds_no_trace_is_refused(pimreplay, tmp_path):
    answer = pimreplay("run", tmp_path, "--policy", "topk", *RUN, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "no trace here" in answer.err


def test_an_altered_trace_file_is_refused(pimreplay, trace_path, tmp_path):
    copy = tmp_path / "trace"
    shutil.copytree(trace_path, copy)
    file = copy / "kv" / "layer_000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answer = pimreplay("run", copy, "--policy", "topk", *RUN, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "layer_000.parquet" in answer.err
    assert left_in(tmp_path) == ["trace"]


def test_ctrl_c_ends_with_one_sentence_and_leaves_nothing(spawn, make_trace, tmp_path):
    trace = make_trace(tmp_path / "trace", layers=8, kv_heads=8, prompt_tokens=2000)
    process = spawn(
        "run", trace.where, "--policy", "starc", "--policy", "clusterkv", "--policy", "retroinfer",
        "--budget", "64", "--workers", "2", "--out", tmp_path / "out",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:  # the last line before the work starts
        if line.startswith("dense layers"):
            break
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert left_in(tmp_path) == ["trace"]


def test_a_cache_larger_than_its_channel_is_refused_and_fits_on_more_stacks(
    pimreplay, trace_path, tmp_path
):
    device = tmp_path / "tiny.toml"
    device.write_text(
        'schema = 1\nbase = "attacc_hbm3_bank"\n[organisation]\nsource = "a test"\n'
        "channels = 1\nrows = 4\nchannel_density_mbit = 2\ncapacity_bytes = 262144\n"
    )
    asked = ("run", trace_path, "--policy", "dense", "--budget", "32", "--workers", "0")
    asked = (*asked, "--hardware", device, "--out", tmp_path / "results")
    answer = pimreplay(*asked)
    assert answer.code == 2
    assert (
        "take 524.3 kB of a channel that has 262.1 kB; give --stacks 2 (layers are dealt out"
        in answer.err
    )
    assert not (tmp_path / "results").exists()
    answer = pimreplay(*asked, "--stacks", "2")
    assert answer.code == 0, answer.err
    assert "capacity: the fullest channel is" in answer.out
    fullest = Results.open(tmp_path / "results").config["hardware"][0]["occupancy"]
    assert fullest[Path(trace_path).name]["channel_ratio"] <= 1


def test_the_width_of_an_element_is_the_devices_and_not_the_captures(pimreplay, tmp_path):
    found = {}
    for dtype in ("float16", "float32"):
        trace = tmp_path / dtype
        invented = Synthesis(layers=1, prompt_tokens=300, decode_steps=4, dtype=dtype)
        synthesize_trace(invented, trace)
        for kv_bits in ("8", "16"):
            out = tmp_path / f"{dtype}-{kv_bits}"
            answer = pimreplay(
                "run", trace, "--policy", "quest", *RUN, "--dense-layers", "0",
                "--kv-bits", kv_bits, "--out", out,
            )  # fmt: skip
            assert answer.code == 0, answer.err
            assert f"({kv_bits} bits a KV element," in answer.out
            steps = Results.open(out).table("steps")
            found[dtype, kv_bits] = steps.select("cycles", "energy_pj", "scoring_pj", "remap_pj")
    assert found["float16", "16"].equals(found["float32", "16"])
    halved = found["float16", "8"]["cycles"] / found["float16", "16"]["cycles"]
    assert 0.4 < halved.mean() < 0.8
    scoring = found["float16", "8"]["scoring_pj"] / found["float16", "16"]["scoring_pj"]
    assert scoring.max() < 1


def test_a_terminal_does_not_obey_what_a_token_says(pimreplay, make_trace, tmp_path):
    make_trace(tmp_path / "trace", text=["\x1b[2J", "[/bold]", "\u202e", "plain"] * 26)
    answer = pimreplay("explain", tmp_path / "trace", "--policy", "topk", "--budget", "8")
    assert answer.code == 0, answer.err
    assert "\\x1b[2J" in answer.out or "[/bold]" in answer.out
    assert all(one.isprintable() for one in answer.out.replace("\n", ""))


def test_the_same_run_in_another_folder_is_the_same_bytes(pimreplay, trace_path, tmp_path):
    written = []
    for name in ("one", "other"):
        shutil.copytree(trace_path, tmp_path / name / "trace")
        out = tmp_path / name / "results"
        answer = pimreplay("run", tmp_path / name / "trace", "--policy", "topk", *RUN, "--out", out)
        assert answer.code == 0, answer.err
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1]
    (path,) = (trace["path"] for trace in Results.open(tmp_path / "one/results").config["traces"])
    assert path == "../trace"
