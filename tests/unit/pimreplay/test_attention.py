"""Attention layers by parameters, their energy, and the devices' self-checks."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_model import GOLDEN, cases, device, read_lines
from typer.testing import CliRunner

from pimreplay import mappings
from pimreplay.attacc.layer import attention_layer
from pimreplay.attacc.layer_commands import attention_requests
from pimreplay.attacc.shape import AttentionShape
from pimreplay.bank_model.commands import REQUEST_WORDS
from pimreplay.bank_model.scheduler import schedule
from pimreplay.cli_devices import app
from pimreplay.cost.channels import channel_cycles
from pimreplay.cost.energy import channel_events
from pimreplay.cost.energy_models import activation
from pimreplay.cost.step_cost import step_cost
from pimreplay.hardware import reading as hardware
from pimreplay.mappings.attacc import Attacc
from tracegen.base.errors import FailedRun, UserError

LAYERS = [case for case in cases("attacc", "starc") if case["lines"] < 60_000]


def shape_of(case: dict[str, Any]) -> AttentionShape:
    return AttentionShape(
        case["head_dim"],
        case["heads_per_hbm"],
        case["seq_len"],
        case["bytes_per_element"],
        case.get("kv_budget"),
        case.get("max_len"),
        bool(case.get("cluster_step")),
    )


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case["name"])
def test_a_layer_by_its_parameters_takes_the_reference_cycles(case: dict[str, Any]) -> None:
    org, timing = device(case["timing"], case["org"])
    requests = attention_requests(hardware.load(f"attacc_hbm3_{case['mode']}"), shape_of(case))
    outcome = schedule(requests, org, timing, refresh=case["refresh"])
    assert outcome.requests == case["requests"]
    assert outcome.cycles == case["cycles"]


def test_the_generated_commands_are_those_of_the_public_generators() -> None:
    for case in LAYERS:
        if case["trace"]:
            made = attention_requests(hardware.load(f"attacc_hbm3_{case['mode']}"), shape_of(case))
            words = [REQUEST_WORDS[kind] for kind in made.kind]
            lines = list(zip(words, made.address.tolist(), strict=True))
            assert lines == read_lines(GOLDEN / "traces" / case["trace"]), case["name"]


def layer(**changes: Any) -> dict[str, Any]:
    values = {"hardware_name": None, "mode": "bank", "head_dim": 128, "heads": 3, "tokens": 1025}
    return attention_layer(**{**values, **changes})


# System results of scale-snu/attacc_simulator @ c600051 (main.py --system dgx-attacc, nJ): model
# layers, heads, tokens, batch, mode, memory energy and arithmetic energy of attention.
PUBLISHED = [
    (96, 96, 1025, 1, "bank", "HBM3_5.2Gbps", 27096407.101439998, 394481.664),
    (80, 64, 2049, 4, "bank", "HBM3_5.2Gbps", 104487302.47987199, 1752396.5952),
    (96, 96, 513, 8, "bank", "HBM3_5.2Gbps_NPC", 119866317.1375104, 1579466.09664),
    (96, 96, 513, 8, "bg", "HBM3_5.2Gbps", 337787253.4831104, 1579466.09664),
    (96, 96, 513, 8, "buffer", "HBM3_5.2Gbps", 346195858.1551105, 1579466.09664),
]


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_attacc_model_gives_attacc_s_published_energy(case: tuple[Any, ...]) -> None:
    layers, heads, tokens, batch, mode, timing, memory_nj, arithmetic_nj = case
    mine = heads // 8 * batch  # of one of 8 devices, with 5 stacks each
    stack = layer(mode=mode, heads=-(-mine // 5), tokens=tokens, timing=timing)["attacc_energy"]
    sram_pj = mine * tokens * 2 * 2 * 0.0034
    memory_pj = 5 * (stack["cell_pj"] + stack["movement_pj"]) + sram_pj
    assert memory_pj * 8 * layers / 1000 == pytest.approx(memory_nj, rel=1e-12)
    arithmetic_pj = mine * tokens * (128 + 5 / 2) * 0.32
    assert arithmetic_pj * 8 * layers / 1000 == pytest.approx(arithmetic_nj, rel=1e-12)


def test_energy_counts_each_activation() -> None:
    row = layer()
    assert row["energy"]["activation_pj"] == pytest.approx(row["row_activations"] * 901.12)
    assert row["energy_pj"] == pytest.approx(sum(row["energy"].values()))


def test_an_unknown_coefficient_makes_its_part_and_the_total_unknown() -> None:
    row = layer(hardware_name="skhynix_gddr6_aim_attacc_mapping", mode=None)
    assert row["energy"]["mac_pj"] is None
    assert row["energy_pj"] is None
    assert row["energy"]["activation_pj"] > 0


def test_idle_energy_is_power_times_time() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    total = activation.charge(bank, channel_events(1000.0, 16)).total_pj
    assert total is not None
    assert total[0] == pytest.approx((66.0 + 21.0) * 16 * 1000.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"heads": 0}, "--heads = 0"),
        ({"tokens": -1, "head_dim": 0}, "--head-dim = 0 must be at least 1; --tokens = -1"),
        ({"mode": "rank"}, "known: bank, bg, buffer"),
        ({"kv_budget": -1}, "--kv-budget"),
        ({"element_bytes": 3}, "allowed: 1, 2, 4"),
        ({"max_tokens": 5}, "below --tokens"),
        ({"heads": 17, "cluster_step": True}, "at most 16"),
        ({"heads": 10**20}, "--heads is above 4,294,967,296"),
        ({"max_tokens": 10**400}, "--max-tokens is above 4,294,967,296"),
        ({"heads": 1, "tokens": 4_000_000}, r"need 2,048,000,000 bytes .* has 1,073,741,824; use"),
        ({"tokens": 500_000, "cluster_step": True}, "the artefact has room for 409,600"),
        ({"timing": "HBM3_5.2Gbs"}, "did you mean HBM3_5.2Gbps"),
    ],
)
def test_impossible_layers_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        layer(**changes)


@pytest.mark.parametrize("mode", ["bank", "bg", "buffer"])
def test_a_layer_runs_on_counts_that_are_not_powers_of_two(mode: str, tmp_path: Path) -> None:
    three = tmp_path / "three.toml"
    three.write_text('[organisation]\npreset = "HBM3_12Gb_3R"\nchannels = 3\n')
    row = layer(mode=mode, heads=1, organisation=str(three))
    assert row["commands"]["SFM"] == 1
    heads = layer(mode=mode, heads=3, organisation=str(three))
    assert heads["cycles"] == row["cycles"], "a head a channel: each takes as long as one alone"


def test_an_exported_trace_simulates_to_the_same_cycles(tmp_path: Path) -> None:
    path = tmp_path / "layer.trace.gz"
    runner = CliRunner()
    arguments = ["--hardware", "attacc_hbm3_bank", "--mode", "bank", "--head-dim", "64"]
    arguments += ["--heads", "2", "--tokens", "300", "--json", "--export", str(path)]
    made = json.loads(runner.invoke(app, ["attention", *arguments]).stdout)
    ran = json.loads(runner.invoke(app, ["simulate", str(path), "--json"]).stdout)
    assert made["cycles"] == ran[0]["cycles"]
    assert made["requests"] == ran[0]["requests"]
    assert gzip.decompress(path.read_bytes()).startswith(b"PIM_WR_GB 0x00000000\n")
    again = runner.invoke(app, ["attention", *arguments])
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize("name", hardware.names())
def test_a_shipped_device_passes_its_self_check(name: str) -> None:
    checks = mappings.check(mappings.load(name))
    assert {one.name for one in checks} >= {"capacity", "energy"}
    assert all(one.passed for one in checks), checks


def test_a_failed_self_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = mappings.load

    def wrong(name: str) -> Any:
        device = real(name)
        stated = {**device.values["organisation"], "capacity_bytes": 1}
        return replace(device, values={**device.values, "organisation": stated})

    monkeypatch.setattr(mappings, "load", wrong)
    done = CliRunner().invoke(app, ["selfcheck", "--hardware", "attacc_hbm3_bank"])
    assert isinstance(done.exception, FailedRun)
    assert "FAIL attacc_hbm3_bank: capacity" in done.stdout


def test_the_fidelities_agree() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    random = np.random.default_rng(0)
    for blocks, q_heads in ((64, 1), (512, 4)):
        chosen = random.random((4, blocks)) < 0.1
        chosen[0] = True
        fast = step_cost(bank.geometry(128), chosen, q_heads, "analytic")
        true = step_cost(bank.geometry(128), chosen, q_heads, "command")
        assert np.abs(fast.cycles / true.cycles - 1).max() < 0.05
        assert (fast.n_mac_commands == true.n_mac_commands).all()


def test_a_single_dense_head_costs_what_its_layer_costs() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    cost = step_cost(bank.geometry(128), np.ones((1, 32), dtype=bool), 1, "command")
    assert cost.cycles[0] == layer(heads=1, tokens=512)["cycles"] == 930


def test_reading_nothing_costs_nothing() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    for fidelity in ("analytic", "command"):
        cost = step_cost(bank.geometry(128), np.zeros((2, 40), dtype=bool), 4, fidelity)  # type: ignore[arg-type]
        assert cost.cycles.tolist() == [0, 0]
        assert cost.n_activations.tolist() == [0, 0]


def test_scattered_blocks_cost_more_than_the_same_number_together() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    blocks = np.zeros((2, 1024), dtype=bool)
    blocks[0, :32] = True
    blocks[1, ::32] = True
    cost = step_cost(bank.geometry(128), blocks, 1)
    assert cost.n_mac_commands[0] == cost.n_mac_commands[1]
    assert cost.cycles[1] > 2 * cost.cycles[0]
    assert cost.energy.activation_pj is not None
    assert cost.energy.activation_pj[1] > 10 * cost.energy.activation_pj[0]


def test_a_layer_ends_with_its_busiest_channel() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    cycles = np.full((17, 2), 100, dtype=np.int64)
    assert channel_cycles(bank, cycles).max(axis=0).tolist() == [200, 200]
    assert channel_cycles(bank, cycles).sum() == cycles.sum()
    hidden = np.full_like(cycles, 10)
    assert channel_cycles(bank, cycles, hidden).max(axis=0).tolist() == [180, 180]


def test_unknown_overheads_stay_unknown() -> None:
    bank = hardware.load("attacc_hbm3_bank")
    cost = Attacc(bank, 128, 16).overheads(
        scored_vectors=np.array([0, 16]),
        scored_bytes=None,
        clustering_flops=None,
        moved_tokens=np.array([0, 64]),
    )
    assert cost.clustering_ns is None
    assert cost.scoring_ns is not None and cost.scoring_ns[0] == 0 < cost.scoring_ns[1]
    assert cost.remap_ns is not None and cost.remap_ns[1] > 0
