"""Attention on memories with mappings of their own, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pimreplay.hardware import reading

Attention = Callable[..., tuple[int, str, str]]
PLAIN = ("--head-dim", "128", "--tokens", "4096")


@pytest.fixture
def attention(pimreplay_command: Callable[[str], Attention]) -> Attention:
    """Return a function that runs the command: (exit code, output, errors)."""
    return pimreplay_command("attention")


def found(attention: Attention, *arguments: str) -> Any:
    code, output, errors = attention(*arguments, "--json")
    assert (code, errors) == (0, "")
    return json.loads(output)


@pytest.mark.parametrize(
    ("device", "keys", "values"),
    [
        ("samsung_hbm_pim", 29_715 + 8_664, 26_000 + 309),
        ("skhynix_gddr6_aim", 24_848, 9_664),
        ("skhynix_gddr6_aim_as_run", 24_848, 9_664),
    ],
)
def test_dense_attention_takes_the_measured_cycles(
    attention: Attention, device: str, keys: int, values: int
) -> None:
    row = found(attention, "--hardware", device, *PLAIN)
    assert (row["regions"]["keys"]["cycles"], row["regions"]["values"]["cycles"]) == (keys, values)
    assert row["cycles"] == keys + values == sum(row["phases"].values())
    assert row["phases"].keys() == {"keys", "values", "mode", "readout"}
    assert row["energy_pj"] is None


def test_the_written_clock_is_twice_that_of_the_simulator(attention: Attention) -> None:
    written, as_run = (
        found(attention, "--hardware", name, *PLAIN)["time_ns"]
        for name in ("skhynix_gddr6_aim", "skhynix_gddr6_aim_as_run")
    )
    assert as_run == 2 * written


def test_heads_beyond_the_channels_wait_their_turn(attention: Attention) -> None:
    one, full, more = (
        found(attention, "--hardware", "skhynix_gddr6_aim", *PLAIN, "--heads", heads)["cycles"]
        for heads in ("1", "32", "33")
    )
    assert (full, more) == (one, 2 * one)


def test_only_touched_blocks_are_read(attention: Attention) -> None:
    Path("read.txt").write_text("0, 1, 2 17\n4000\n")
    hbm = found(attention, "--hardware", "samsung_hbm_pim", *PLAIN, "--read-tokens", "read.txt")
    assert [hbm["regions"][name]["blocks"] for name in ("keys", "values")] == [3, 3]
    token = found(
        attention, "--hardware", "samsung_hbm_pim_by_token", *PLAIN, "--read-tokens", "read.txt"
    )
    assert token["regions"]["values"]["blocks"] == 5
    assert token["regions"]["values"]["cycles"] < hbm["regions"]["values"]["cycles"]
    assert hbm["read_tokens"] == 5


@pytest.mark.parametrize(
    ("arguments", "content", "said"),
    [
        (
            ("--hardware", "samsung_hbm_pim", "--mode", "bank"),
            "",
            "--mode: not for samsung_hbm_pim",
        ),
        (("--read-tokens", "x"), "", "--read-tokens: only for a device with a mapping of its own"),
        (("--hardware", "samsung_hbm_pim", "--read-tokens", "x"), "4096", "is not a position"),
        (("--hardware", "samsung_hbm_pim", "--read-tokens", "x"), "", "has no positions"),
        (("--hardware", "samsung_hbm_pim", "--heads", "0"), "", "--heads 0: must be at least 1"),
        (("--hardware", "skhynix_gddr6_aim", "--no-refresh"), "", "never refreshes"),
    ],
)
def test_wrong_requests_are_refused(
    attention: Attention, arguments: tuple[str, ...], content: str, said: str
) -> None:
    Path("x").write_text(content)
    code, output, errors = attention(*PLAIN, *arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert said in errors


@pytest.mark.parametrize(
    ("device", "head_dim", "said"),
    [
        ("skhynix_gddr6_aim", "1025", "head_dim 1025: a row has 1024 elements"),
        ("samsung_hbm_pim_by_token", "256", "head_dim 256 does not fit values by token"),
    ],
)
def test_a_mapping_that_cannot_hold_the_head_says_so(
    attention: Attention, device: str, head_dim: str, said: str
) -> None:
    Path("x").write_text("1")
    code, _, errors = attention(
        "--hardware", device, "--head-dim", head_dim, "--tokens", "64", "--read-tokens", "x"
    )
    assert code == 2
    assert said in errors


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('mapping = "aim"', 'mapping = "atari"', "mapping = 'atari' is unknown"),
        (
            "channels = 32",
            "channels = 0",
            "channels = 0 must be a whole number above 0 and at most",
        ),
        ("channels = 32", "", "channels is missing"),
        ('keys = "packed"', 'keys = "loose"', "keys = 'loose' is unknown; known: packed"),
        ('keys = "packed"', "kees = 1", "kees is unknown"),
        ('preset = "GDDR6_AiM"', "n_bl_cycles = 2", "n_rp_cycles is missing"),
    ],
)
def test_a_wrong_device_file_is_refused(
    attention: Attention, old: str, new: str, said: str
) -> None:
    text = (reading.FOLDER / "skhynix_gddr6_aim.toml").read_text()
    assert old in text
    Path("own.toml").write_text(text.replace(old, new))
    code, _, errors = attention(*PLAIN, "--hardware", "own.toml")
    assert code == 2
    assert said in errors
