"""Why a device is slower: from what the run recorded, and said in one sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.results.devices import dense_by_device, facts, reasons
from analysis.results.tidying import tidy
from pimreplay.hardware.reading import load
from pimreplay.results.reader import Results

DEVICES = ("attacc_hbm3_bank", "attacc_hbm3_buffer")


def recorded(folder: Path) -> Results:
    """Return results on two devices, the second half as fast, that hold the devices' own values."""
    run = Results.open(folder)
    hardware = [one | {"values": load(one["name"]).values} for one in run.config["hardware"]]
    traces = [one | {"head_dim": 64} for one in run.config["traces"]]
    return replace(run, config=run.config | {"hardware": hardware, "traces": traces})


def test_a_slower_device_is_explained_by_its_numbers(make: Callable[..., Path]) -> None:
    table = tidy([recorded(make(hardware=DEVICES))])
    taken = dense_by_device(table, "latency")
    assert taken["attacc_hbm3_buffer"] == pytest.approx(1.5 * taken["attacc_hbm3_bank"])
    # a MAC command reads 16 tokens of 64 elements every 6 cycles of 769 ps, or, at the buffer,
    # a quarter of 2 tokens every 2; a change of rows takes 46 cycles
    assert facts(table) == {
        "attacc_hbm3_bank": [
            "16 tokens in 4.61 ns",
            "35.4 ns to the next row of 512",
            "2 of 4 channels",
        ],
        "attacc_hbm3_buffer": [
            "2 tokens in 6.15 ns",
            "35.4 ns to the next row of 16",
            "2 of 4 channels",
        ],
    }
    assert reasons(table) == [
        "Dense attention takes 1.50\u00d7 as long on attacc_hbm3_buffer as on attacc_hbm3_bank"
        " (score 1.50\u00d7, softmax 1.50\u00d7, context 1.50\u00d7, move 1.50\u00d7): 2 tokens in"
        " 6.15 ns, 35.4 ns to the next row of 16, against 16 tokens in 4.61 ns, 35.4 ns to the next"
        " row of 512."
    ]


def test_devices_whose_values_are_not_recorded_are_only_compared(
    make: Callable[..., Path],
) -> None:
    table = tidy([Results.open(make(hardware=("fast", "slow")))])
    assert facts(table) == {"fast": ["2 of 4 channels"], "slow": ["2 of 4 channels"]}
    (sentence,) = reasons(table)
    assert sentence.startswith("Dense attention takes 1.50\u00d7 as long on slow as on fast (score")
    assert sentence.endswith("move 1.50\u00d7).")


def test_one_device_needs_no_reason(make: Callable[..., Path]) -> None:
    assert reasons(tidy([Results.open(make())])) == []
