"""A replayed policy inside a whole system: rules by hand, and everything that does not fit."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pimreplay.study.runs import RunRequest, run_once
from pimreplay.system.data import load_model
from pimreplay.system.decode import Request, build_system, decode
from pimreplay.system.layers import ATTENTION, block
from pimreplay.system.pim import Pim
from pimreplay.system.read_replay import Wanted, read_replay
from pimreplay.system.replayed import Clustering, Work
from tracegen.base.console import run

TRACE = Path(__file__).parents[3] / "traces" / "needle_1k"
REQUEST = Request(4, 1024, 64)


def system(name: str = "dgx_attacc", **options: Any) -> Any:
    values: dict[str, Any] = {
        "gpu": "H100", "gpus": 8, "mode": "bank", "power_limit": True,
        "feedforward_parallel": False, "pipeline": False, "accounting": "physical",
    }  # fmt: skip
    return build_system(name, **{**values, **options})


def replay(out: Path, hardware: str, *policies: str) -> Path:
    request = RunRequest(
        trace=str(TRACE), policies=policies, budget="128", hardware=hardware, workers=0,
        layers=("24",),
    )  # fmt: skip
    for _ in run_once(request, str(out)):
        pass
    return out


@pytest.fixture(scope="module")
def on_pim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("replayed") / "bank"
    policies = (
        "dense",
        "starc",
        "topk",
        "topk@clustered",
        "starc@clustered:heads=token_interleaved",
    )
    yield replay(folder, "attacc_hbm3_bank", *policies)


def test_dense_attention_of_a_replay_is_the_systems_own(on_pim: Path) -> None:
    own = decode(system(), "Llama-3.2-1B", REQUEST)
    same = decode(system(), "Llama-3.2-1B", REQUEST, Wanted(str(on_pim), "dense"))
    assert same["time_ms"].pop("clustering") == same["energy_mj"].pop("clustering") == 0
    assert same["time_ms"] == pytest.approx(own["time_ms"], rel=2e-3)
    assert same["energy_mj"] == pytest.approx(own["energy_mj"], rel=2e-3)


def test_a_policy_makes_attention_cheaper_and_nothing_else(on_pim: Path) -> None:
    own = decode(system(), "Llama-3.2-1B", REQUEST)
    with_starc = decode(system(), "Llama-3.2-1B", REQUEST, Wanted(str(on_pim), "starc@clustered"))
    for name, before in own["time_ms"].items():
        after = with_starc["time_ms"][name]
        assert after < before if name == "attention" else after == pytest.approx(before)
    assert with_starc["energy_mj"]["attention"] < own["energy_mj"]["attention"]
    assert with_starc["time_ms"]["clustering"] > 0
    assert sum(with_starc["time_ms"].values()) == pytest.approx(with_starc["step_ms"])
    assert sum(with_starc["energy_mj"].values()) == pytest.approx(with_starc["step_energy_mj"])


def test_the_tokens_of_a_step_by_hand() -> None:
    work = Work(
        attention_tokens=500.0, attention_ratio=0.0, scoring_ratio=0.1, remap_tokens=3.0,
        prompt_remap_ratio=2.0,
    )  # fmt: skip
    # 500 of 2,000, a tenth for scoring, 3 for rewriting, the prompt's 2 x 1,000 over 50 steps
    assert work.tokens(2000, 1000, 50) == 500 + 200 + 3 + 40
    # never more than there are
    assert work.tokens(400, 1000, 50) == 400 + 40 + 3 + 40
    share = replace(work, attention_tokens=0.0, attention_ratio=0.25)
    assert share.tokens(2000, 1000, 50) == 500 + 200 + 3 + 40
    assert share.tokens(4000, 1000, 50) == 1000 + 400 + 3 + 40
    assert Clustering(step=5.0, prompt_token=2.0).mean(1000, 50) == 5 + 40


def test_a_scattered_selection_is_more_dense_tokens_than_it_has_tokens(on_pim: Path) -> None:
    model = load_model("Llama-3.2-1B")
    scattered, together = (
        read_replay(Wanted(str(on_pim), policy), system(), model).time.attention_tokens
        for policy in ("topk@sequential", "starc@clustered")
    )
    assert 128 < together < scattered < 1056


def test_grouped_queries_read_keys_and_values_once() -> None:
    model = load_model("Llama-3.1-8B")  # 32 query heads, 8 KV heads, 8 GPUs
    common: dict[str, Any] = {
        "gpus": 8, "batch": 2, "rows": 1, "tokens": 4096, "word_bytes": 2, "on_pim": False,
    }  # fmt: skip
    grouped, each = (
        [one for one in block(model, grouped=grouped, **common) if one.kind == ATTENTION]
        for grouped in (True, False)
    )
    assert [(one.m, one.count) for one in grouped] == [(4, 2), (4, 2)]
    assert [(one.m, one.count) for one in each] == [(1, 8), (1, 8)]
    assert [one.flops for one in grouped] == [one.flops for one in each]
    on_gpus = [
        decode(system("dgx"), "Llama-3.1-8B", Request(16, 16_384, 2))["time_ms"]["attention"],
        decode(system("dgx", accounting="attacc"), "Llama-3.1-8B", Request(16, 16_384, 2))[
            "time_ms"
        ]["attention"],
    ]
    assert on_gpus[0] < on_gpus[1] / 3


def test_a_group_on_pim_multiplies_each_block_for_every_query() -> None:
    pim = Pim("bank", True, True, 900e9)
    layers = block(
        load_model("Llama-3.1-8B"), gpus=8, batch=5, rows=1, tokens=4096, word_bytes=2,
        on_pim=True, grouped=True,
    )  # fmt: skip
    score = next(layer for layer in layers if layer.name == "score")
    four, one = pim.layer_cost(score), pim.layer_cost(replace(score, m=1))
    assert 3 < four.time_s / one.time_s < 4  # rows are opened once
    assert four.memory_pj == pytest.approx(4 * one.memory_pj)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--policy starc", "--policy: needs --results beside it"),
        ("--results {on_pim}", "--results: needs --policy beside it"),
        ("--budget 128", "--budget and --hardware choose within --results"),
        ("--results nowhere --policy starc", "nothing is there, not a results folder"),
        ("--results {cut} --policy starc", "steps.parquet"),
        ("--results {on_pim} --policy quest", "holds no policy quest; it holds dense, starc, topk"),
        ("--results {on_pim} --policy topk@random", "holds no layout random; it holds"),
        ("--results {on_pim} --policy topk --budget 64", "holds no budget 64; it holds 128"),
        ("--results {on_pim} --policy topk", "holds layout clustered, sequential; name one with"),
        (
            "--results {on_pim} --policy starc@clustered:heads=token_interleaved",
            "spreads a KV head over channels",
        ),
        ("--results {on_pim} --policy starc --system dgx", "needs results of such a device"),
        ("--results {on_pim} --policy starc --pim bg", "needs results of such a device"),
        (
            "--results {on_pim} --policy dense --model LLAMA-7B",
            "was replayed with heads of 64 elements, LLAMA-7B has heads of 128",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    on_pim: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    said: str,
) -> None:
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in on_pim.iterdir():
        data = file.read_bytes()
        (cut / file.name).write_bytes(data[:-100] if file.name == "steps.parquet" else data)
    words = ["pimreplay", "decode", "--prompt-tokens", "512"]
    given = arguments.format(on_pim=on_pim, cut=cut).split()
    if "--model" not in given:
        words += ["--model", "Llama-3.2-1B"]
    monkeypatch.setattr(sys, "argv", [*words, "--output-tokens", "4", *given])
    with pytest.raises(SystemExit) as stop:
        run("pimreplay.cli")
    seen = capsys.readouterr()
    assert (stop.value.code, seen.out, seen.err.count("\n")) == (2, "", 1)
    assert said in seen.err
