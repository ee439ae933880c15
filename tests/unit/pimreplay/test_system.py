"""Whole systems: AttAcc's own program column by column, and what is put right in it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pimreplay.system.capacity import largest_batch, required_bytes
from pimreplay.system.data import Model, load_model
from pimreplay.system.decode import Request, build_system, decode
from pimreplay.system.layers import block
from tracegen.base.console import run
from tracegen.base.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden" / "system" / "cases.json"


def system(name: str = "dgx_attacc", **options: Any) -> Any:
    values: dict[str, Any] = {
        "gpu": "H100", "gpus": 8, "mode": "bank", "power_limit": True,
        "feedforward_parallel": True, "pipeline": True, "accounting": "physical",
    }  # fmt: skip
    return build_system(name, **{**values, **options})


def options_of(args: str) -> dict[str, str]:
    """Read the program's own arguments; a switch is its own value."""
    words = args.split()
    following = [*words[1:], "--"]
    return {
        word[2:]: value for word, value in zip(words, following, strict=True) if word[:2] == "--"
    }


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["args"])
def test_every_column_of_attaccs_program(case: dict[str, Any]) -> None:
    given = options_of(case["args"])
    built = system(
        given["system"],
        gpu=given["gpu"],
        gpus=int(given["ngpu"]),
        mode=given.get("pim", "bank"),
        power_limit="powerlimit" in given,
        feedforward_parallel="ffopt" in given,
        pipeline="pipeopt" in given,
        accounting="attacc",
    )
    request = Request(int(given["batch"]), int(given["lin"]), int(given["lout"]))
    found = decode(built, given["model"], request)["attacc"]
    expected = {name: value for name, value in case.items() if name != "args"}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-3))


def test_parts_add_up_to_the_whole() -> None:
    found = decode(system(), "LLAMA-7B", Request(16, 2048, 200))
    assert sum(found["time_ms"].values()) == pytest.approx(found["step_ms"])
    assert sum(found["energy_mj"].values()) == pytest.approx(found["step_energy_mj"])
    assert found["tokens_per_s"] == pytest.approx(16e3 / found["step_ms"])


@pytest.mark.parametrize(
    ("mode", "column", "ratio"),
    [("buffer", "g_attn_mem_energy", 2), ("bank", "g_attn_comp_energy", 2)],
)
def test_physical_accounting_charges_what_attacc_leaves_out(
    mode: str, column: str, ratio: float
) -> None:
    request = Request(8, 512, 2)
    both = [
        decode(system(mode=mode, accounting=one), "GPT-175B", request)["attacc"][column]
        for one in ("physical", "attacc")
    ]
    assert both[0] / both[1] == pytest.approx(ratio, rel=0.1)


def test_grouped_queries_shrink_projections_and_cache() -> None:
    model = load_model("Llama-3.1-8B")
    common: dict[str, Any] = {"gpus": 8, "batch": 1, "rows": 1, "tokens": 9, "word_bytes": 2}
    qkv = [block(model, on_pim=False, grouped=one, **common)[0].n for one in (True, False)]
    assert qkv == [512 * 1.5, 512 * 3]
    alike = replace(model, kv_heads=model.q_heads)

    def of_a_sequence(one: Model) -> float:
        two, first = (required_bytes(one, batch, 1000, 2, grouped=True) for batch in (2, 1))
        return two - first

    cache = [of_a_sequence(model), of_a_sequence(alike)]
    assert cache[1] - cache[0] == 32 * 2 * 1000 * 4096 * 0.75 * 2


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    model = load_model("LLAMA-7B")
    memory = 640 << 30
    most = largest_batch(model, 34_047, 2, memory, grouped=True)
    needed = [required_bytes(model, batch, 34_047, 2, grouped=True) for batch in (most, most + 1)]
    assert needed[0] <= memory < needed[1]


def test_a_long_decode_lies_between_its_first_and_last_step() -> None:
    first = decode(system(), "LLAMA-7B", Request(16, 2048, 2))
    last = decode(system(), "LLAMA-7B", Request(16, 34_046, 2))
    whole = decode(system(), "LLAMA-7B", Request(16, 2048, 32_000))
    assert first["step_ms"] < whole["step_ms"] < last["step_ms"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--model LLAMA-6B", "model 'LLAMA-6B' is unknown; known: "),
        ("--model LLAMA-7B --gpu V100", "GPU 'V100' is unknown"),
        ("--model LLAMA-7B --system dgy", "--system 'dgy': unknown"),
        ("--model LLAMA-7B --pim rank", "--pim 'rank': unknown"),
        ("--model LLAMA-7B --batch 0", "--batch 0: must be at least 1"),
        ("--model LLAMA-7B --gpus 4", "has a PIM node of 5 stacks beside each of its 8 GPUs"),
        ("--model LLAMA-7B --word-bytes 4", "an element has 1 or 2 bytes"),
        ("--model GPT-13B --system dgx --gpus 7", "40 query heads do not divide among 7 GPUs"),
        ("--model MT-1008B --system dgx", "not even one sequence fits"),
        ("--model LLAMA-7B --batch 40000", "a batch of"),
    ],
)
def test_what_no_system_can_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    words = ["pimreplay", "decode", "--prompt-tokens", "512", "--output-tokens", "2"]
    monkeypatch.setattr(sys, "argv", [*words, *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        run("pimreplay.cli")
    seen = capsys.readouterr()
    assert (stop.value.code, seen.out, seen.err.count("\n")) == (2, "", 1)
    assert said in seen.err


def test_requests_need_a_step() -> None:
    with pytest.raises(UserError, match="--output-tokens 1: must be at least 2"):
        Request(1, 10, 1)
