"""Request files of the two memories that can be bought, against their public simulators."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimreplay.command_sets import aim, hbm_pim, load_timing
from pimreplay.command_sets.aim.requests import parse_request
from pimreplay.command_sets.hbm_pim.requests import BANK, COLUMN, ROW, WRITE
from pimreplay.mappings import _hbm_pim_requests as hbm_pim_mapping
from pimreplay.mappings import aim as aim_mapping

GOLDEN = Path(__file__).parents[3] / "golden" / "devices"


def cases(name: str, field: str) -> list[Any]:
    """Return the golden cases that hold their requests."""
    found = json.loads((GOLDEN / f"{name}_cases.json").read_text())["cases"]
    return [case for case in found if field in case]


@pytest.mark.parametrize("case", cases("aim", "trace"), ids=lambda case: case["name"])
def test_aim_takes_the_cycles_and_commands_of_its_simulator(case: Any) -> None:
    requests = np.array([parse_request("golden", line) for line in case["trace"]])
    outcome = aim.simulate(requests, load_timing("aim", "GDDR6_AiM_as_run"))
    assert (outcome.cycles, outcome.commands) == (case["cycles"], case["commands"])


@pytest.mark.parametrize("case", cases("hbm_pim", "requests"), ids=lambda case: case["name"])
def test_hbm_pim_takes_the_cycles_of_its_simulator(case: Any) -> None:
    requests = hbm_pim.parse_requests("golden", case["requests"])
    outcome = hbm_pim.simulate(requests, load_timing("hbm_pim", "HBM2_PIM_2Gbps"))
    assert outcome.cycles == case["cycles"]
    assert outcome.commands.get("RD", 0) == case["channel0_reads"]
    assert outcome.commands.get("WR", 0) == case["channel0_writes"]


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in json.loads((GOLDEN / "hbm_pim_cases.json").read_text())["cases"]
        if case["kind"] == "stream_without_pim"
    ],
    ids=lambda case: f"{case['op']} {case['bytes']} bytes, {case['channels']} channels",
)
def test_hbm_pim_streams_like_any_memory(case: Any) -> None:
    """Consecutive accesses go round channels, then banks and bank groups, then columns."""
    at = np.arange(case["bytes"] // 32 // case["channels"])
    requests = np.zeros((len(at), 7), dtype=np.int64)
    requests[:, WRITE] = case["op"] == "write"
    requests[:, BANK] = at // 4 % 4 * 4 + at % 4
    requests[:, COLUMN] = at // 16 % 32
    requests[:, ROW] = at // 512
    timing = load_timing("hbm_pim", "HBM2_PIM_2Gbps")
    assert hbm_pim.simulate(requests, timing, refresh=case["refresh"]).cycles == case["cycles"]


def test_the_as_run_and_the_written_timings_differ_in_time_and_not_in_cycles() -> None:
    case = next(case for case in cases("aim", "trace") if case["name"] == "bias_mac_read_two_rows")
    requests = np.array([parse_request("golden", line) for line in case["trace"]])
    written = load_timing("aim", "GDDR6_AiM")
    assert written.t_ck_ps == load_timing("aim", "GDDR6_AiM_as_run").t_ck_ps / 2
    assert aim.simulate(requests, written).cycles == case["cycles"]


AIM_KEYS = {"keys_packed": "packed", "keys_row_of_16_tokens": "row_of_16_tokens"}


@pytest.mark.parametrize(
    "case", cases("aim", "tokens"), ids=lambda case: f"{case['name']} {case['tokens']}"
)
def test_attention_on_aim_takes_the_measured_cycles(case: Any) -> None:
    blocks = case.get("block_list") or range(-(-case["tokens"] // aim_mapping.BLOCK_TOKENS))
    if case["name"].startswith("keys"):
        order = AIM_KEYS.get(case["name"], "packed")
        requests = aim_mapping.key_requests(list(blocks), case["head_dim"], order)
    else:
        requests = aim_mapping.value_requests(list(blocks), case["head_dim"])
    requests[:, 3] = int(case["channel_mask"], 0)
    outcome = aim.simulate(requests, load_timing("aim", "GDDR6_AiM_as_run"))
    assert (outcome.cycles, outcome.commands) == (case["cycles"], case["commands"])


@pytest.mark.parametrize(
    "case",
    cases("hbm_pim", "readout_cycles"),
    ids=lambda case: f"{case['outputs']} x {case['inputs']} on {case['channels']}",
)
def test_the_librarys_product_takes_the_measured_cycles(case: Any) -> None:
    outputs = -(-case["outputs"] // case["channels"])
    requests, kernel = hbm_pim_mapping.library_requests(outputs, case["inputs"])
    ends, _ = hbm_pim.phases(
        requests,
        [kernel, len(requests)],
        load_timing("hbm_pim", "HBM2_PIM_2Gbps"),
        ranks=case["ranks"],
        refresh=case["refresh"],
    )
    assert ends.tolist() == [case["cycles"], case["cycles"] + case["readout_cycles"]]


@pytest.mark.parametrize(
    "case", cases("hbm_pim", "density"), ids=lambda case: f"{case['name']} {case['tokens']}"
)
def test_sparse_attention_on_hbm_pim_takes_the_measured_cycles(case: Any) -> None:
    read = np.array(case["token_list"] or range(case["tokens"]))
    name = case["name"]
    if name.startswith("keys"):
        blocks = np.unique(read // hbm_pim_mapping.KEY_BLOCK)
        every = name.endswith("as_library")
        requests, _ = hbm_pim_mapping.key_requests(blocks, 128, every_tile=every)
    elif name == "values_by_token_scattered":
        requests, _ = hbm_pim_mapping.value_requests_by_token(read, 128)
    else:
        blocks = np.unique(read // hbm_pim_mapping.VALUE_BLOCK)
        requests, _ = hbm_pim_mapping.value_requests(blocks, case["tokens"], 128)
    outcome = hbm_pim.simulate(requests, load_timing("hbm_pim", "HBM2_PIM_2Gbps"))
    assert outcome.cycles == case["cycles"]
    assert outcome.commands["RD"] == case["channel0_reads"]
    assert outcome.commands["WR"] == case["channel0_writes"]
