"""`pimreplay simulate` from the command line: what it prints, and what it refuses and how."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pimreplay.hardware import reading as hardware
from tracegen.base.errors import UserError

TINY = b"PIM_WR_GB 0x0\nPIM_MAC_AB 0x0\nPIM_MAC_AB 0x20\n"

Simulate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def simulate(pimreplay_command: Callable[[str], Simulate]) -> Simulate:
    """Return a function that runs the command: (exit code, output, errors)."""
    return pimreplay_command("simulate")


def refusal(simulate: Simulate, *arguments: str) -> str:
    """Run a command that must be refused with one line; return the line."""
    code, output, errors = simulate(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    return errors


def test_json_lists_one_object_a_trace(simulate: Simulate) -> None:
    Path("a.trace").write_bytes(TINY)
    Path("b.trace.gz").write_bytes(gzip.compress(TINY))
    code, output, _ = simulate("a.trace", "b.trace.gz", "--json")
    assert code == 0
    a, b = json.loads(output)
    assert (a["file"], b["file"]) == ("a.trace", "b.trace.gz")
    assert a["requests"] == {"pim_mac_all_bank": 2, "pim_write_to_gemv_buffer": 1}
    assert a["row_activations"] == 64
    assert {key: value for key, value in a.items() if key != "file"} == {
        key: value for key, value in b.items() if key != "file"
    }


def test_the_table_names_every_quantity(simulate: Simulate) -> None:
    Path("a.trace").write_bytes(TINY)
    _, output, _ = simulate("a.trace")
    for words in ("cycles =", "requests:", "commands issued:", "row activations: 64", "GB/s peak"):
        assert words in output


@pytest.mark.parametrize(
    "ending",
    [b"PIM_MAC_AB 0x40", b"PIM_MAC_AB 0x40\r\n", b"PIM_MAC_AB 64\n", b"PIM_MAC_AB\t0X40 \n"],
)
def test_line_ends_spaces_and_decimal_addresses_may_vary(simulate: Simulate, ending: bytes) -> None:
    Path("a.trace").write_bytes(TINY + ending)
    Path("b.trace").write_bytes(TINY + b"PIM_MAC_AB 0x40\n")
    _, output, _ = simulate("a.trace", "b.trace", "--json")
    a, b = json.loads(output)
    assert a["cycles"] == b["cycles"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"PIM_MAC_AX 0x20\n", ["found 'PIM_MAC_AX 0x20'", "did you mean PIM_MAC_AB?"]),
        (b"ld 0x20\n", ["found 'ld 0x20'", "known: LD, "]),
        (b"LD\n", ["found 'LD'", "an address in hexadecimal (0x...) or decimal"]),
        (b"LD 0x\n", ["found 'LD 0x'", "an address"]),
        (b"LD 0x2g\n", ["found 'LD 0x2g'", "an address"]),
        (b"LD -5\n", ["found 'LD -5'", "an address"]),
        (b"LD 0x20 0x40\n", ["found 'LD 0x20 0x40'", "allowed is one of LD, ST"]),
        (b"\n", ["found ''", "known: LD"]),
        (b"\xff\xfe\x00\n", ["not a request"]),
        (b"LD 0x400000000\n", ["outside the device, which ends at 0x3ffffffff", "--org"]),
        (b"LD " + b"9" * 40 + b"\n", ["outside the device"]),
        (b"L" * 9000, ["no line end within 4096 bytes"]),
    ],
)
def test_a_line_that_is_no_request_is_named(
    simulate: Simulate, line: bytes, said: list[str]
) -> None:
    Path("bad.trace").write_bytes(TINY + line)
    text = refusal(simulate, "bad.trace")
    assert "bad.trace, line 4: " in text
    for words in said:
        assert words in text


def test_the_line_is_counted_through_all_chunks_of_a_packed_file(simulate: Simulate) -> None:
    lines = b"".join(b"PIM_MV_SB 0x%010x\n" % (32 * i) for i in range(120_000))
    Path("long.trace.gz").write_bytes(gzip.compress(lines + b"PIM_MVSB 0x0\n", compresslevel=1))
    text = refusal(simulate, "long.trace.gz")
    assert "long.trace.gz, line 120001: found 'PIM_MVSB 0x0'" in text


def test_an_address_inside_a_larger_device_is_read_with_its_organisation(
    simulate: Simulate,
) -> None:
    Path("a.trace").write_bytes(b"LD 0x400000000\n")
    assert "outside the device" in refusal(simulate, "a.trace")
    code, _, _ = simulate("a.trace", "--org", "HBM3_16Gb_2R")
    assert code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b""), "holds no request"),
        (TINY, "is named .gz but is not a gzip file"),
        (gzip.compress(TINY)[:5], "line 1: the gzip file is cut short"),
        (gzip.compress(TINY)[:-4], "line 4: the gzip file is cut short here (3 whole lines"),
        (gzip.compress(TINY)[:-8] + b"\0" * 8, "the gzip file is damaged"),
        (gzip.compress(TINY) + b"rest", "the gzip file is damaged"),
    ],
)
def test_a_gzip_file_that_does_not_unpack_is_refused(
    simulate: Simulate, content: bytes, said: str
) -> None:
    Path("bad.trace.gz").write_bytes(content)
    text = refusal(simulate, "bad.trace.gz")
    assert "bad.trace.gz" in text
    assert said in text


def test_members_and_padding_of_a_gzip_file_are_read_like_one(simulate: Simulate) -> None:
    Path("a.trace.gz").write_bytes(gzip.compress(TINY) + gzip.compress(TINY) + b"\0" * 512)
    Path("b.trace").write_bytes(TINY + TINY)
    _, output, _ = simulate("a.trace.gz", "b.trace", "--json")
    a, b = json.loads(output)
    assert (a["cycles"], a["requests"]) == (b["cycles"], b["requests"])


@pytest.mark.parametrize(
    ("name", "said"), [("missing.trace", "no such file"), (".", "is a folder")]
)
def test_a_path_without_a_trace_is_refused(simulate: Simulate, name: str, said: str) -> None:
    assert said in refusal(simulate, name)


def toml(section: str, **values: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[{section}]", *lines, ""])


PRESET = {"preset": "HBM3_5.2Gbps"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_rc_cycles": 62}, "n_rc_cycles = 62 is less than n_ras_cycles + n_rp_cycles = 64"),
        ({"n_faw_cycles": -1}, "n_faw_cycles = -1 must be above 0"),
        ({"n_faw_cycles": 0}, "n_faw_cycles = 0 must be above 0"),
        ({"n_faw_cycles": 38.5}, "n_faw_cycles = 38.5 is not a whole number"),
        ({"n_faw_cycles": True}, "n_faw_cycles = True is not a whole number"),
        ({"n_faw": 39}, "n_faw is not a timing; known: "),
        ({"n_ccds_cycles": 5}, "n_ccds_cycles = 5 is above n_ccdl_cycles = 4"),
        (
            {"n_rfc_cycles": 5050},
            "n_refi_cycles = 5070 is not above n_rfc_cycles + 1 + n_rcdrd_cycles = 5070",
        ),
        ({"t_ck_ps": 500}, "t_ck_ps = 500, but data_rate_mbps = 5200 gives 769"),
        ({"data_rate_mbps": 3}, "data_rate_mbps = 3 gives no clock"),
    ],
)
def test_a_timing_file_that_cannot_be_true_is_refused(
    simulate: Simulate, changed: dict[str, object], said: str
) -> None:
    Path("a.trace").write_bytes(TINY)
    Path("mine.toml").write_text(toml("timing", **PRESET, **changed))
    text = refusal(simulate, "a.trace", "--timing", "mine.toml")
    assert "mine.toml: " in text
    assert said in text


def test_a_row_cycle_one_below_its_parts_is_rounding(simulate: Simulate) -> None:
    Path("a.trace").write_bytes(TINY)
    Path("mine.toml").write_text(toml("timing", **PRESET, n_rc_cycles=63, n_ras_cycles=45))
    assert simulate("a.trace", "--timing", "mine.toml")[0] == 0


def test_missing_timings_are_all_named(simulate: Simulate) -> None:
    Path("a.trace").write_bytes(TINY)
    Path("mine.toml").write_text(toml("timing", data_rate_mbps=5200, n_bl_cycles=2))
    text = refusal(simulate, "a.trace", "--timing", "mine.toml")
    assert text.count("is missing") == 23


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": 8192}, "give 4096 Mbit a channel, channel_density_mbit says 8192"),
        ({"capacity_bytes": 5}, "the numbers give 17179869184 bytes, capacity_bytes says 5"),
        ({"banks": 3}, "banks = 3 must be a power of two"),
        ({"columns": 0}, "columns = 0 must be a whole number above 0"),
        ({"t_rfc_ns": -1}, "t_rfc_ns = -1 must be above 0, at most 1e+09"),
        ({"bank": 4}, "bank is unknown; known: "),
    ],
)
def test_an_organisation_that_contradicts_itself_is_refused(
    simulate: Simulate, changed: dict[str, object], said: str
) -> None:
    Path("a.trace").write_bytes(TINY)
    Path("mine.toml").write_text(toml("organisation", preset="HBM3_8Gb_2R", **changed))
    text = refusal(simulate, "a.trace", "--org", "mine.toml")
    assert "mine.toml: " in text
    assert said in text


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--timing", None, "mine.toml: no such file"),
        ("--timing", "n = [", "not a usable TOML file"),
        ("--timing", "[organisation]\n", "has no [timing] table"),
        ("--org", "[timing]\n", "has no [organisation] table"),
    ],
)
def test_a_file_without_its_table_is_refused(
    simulate: Simulate, option: str, content: str | None, said: str
) -> None:
    Path("a.trace").write_bytes(TINY)
    if content is not None:
        Path("mine.toml").write_text(content)
    assert said in refusal(simulate, "a.trace", option, "mine.toml")


def test_an_unknown_preset_names_the_nearest(simulate: Simulate) -> None:
    Path("a.trace").write_bytes(TINY)
    said = "did you mean HBM3_5.2Gbps?"
    assert said in refusal(simulate, "a.trace", "--timing", "HBM3_5.2Gbs")


def test_a_hardware_file_names_all_its_problems_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        'schema = 1\nbase = "attacc_hbm3_bank"\ntitle = 5\ncolour = "red"\n'
        + toml("organisation", rows=100)
        + toml("timing", n_faw_cycles=-1, n_rc_cycles=60)
        + toml("pim", level="chip")
        + toml("energy", mac_pj="much", cell_pj=1)
        + toml("host", flops_per_ns=0)
    )
    with pytest.raises(UserError) as refused:
        hardware.load("mine.toml")
    for words in (
        "title = 5 must be a text",
        "colour is unknown",
        "rows = 100 must be a power of two",
        "channel_density_mbit says 8192",
        "n_faw_cycles = -1 must be above 0",
        "n_rc_cycles = 60 is less than",
        "level = 'chip'; known: bank, bg, buffer",
        "mac_pj = 'much' must be a number",
        "cell_pj is unknown",
        "flops_per_ns = 0 must be a number above 0",
    ):
        assert words in str(refused.value)


HAB = "W 0 6143 31\nW 1 6143 31\nW 8 6143 31\nW 9 6143 31\nB\n"


@pytest.mark.parametrize(
    ("command_set", "text", "cycles"),
    [
        ("aim", "AiM WR_BIAS 0 1\nAiM MAC_ABK 8 1 0\nAiM RD_MAC 0 1\n\nAiM EOC\n", 174),
        ("hbm_pim", "R 0 5 0\nR 0 5 1\n", 43),
    ],
)
def test_other_command_sets_read_their_own_requests(
    simulate: Simulate, command_set: str, text: str, cycles: int
) -> None:
    Path("requests.txt").write_text(text)
    code, output, _ = simulate("requests.txt", "--command-set", command_set, "--json")
    assert code == 0
    (row,) = json.loads(output)
    assert (row["command_set"], row["cycles"], row["time_ns"]) == (command_set, cycles, cycles)


@pytest.mark.parametrize(
    ("command_set", "text", "said"),
    [
        ("atari", "R 0 5 0", "command set 'atari' is unknown"),
        ("hbm_pim", "R 0 5 0\nL 0 5 0", "line 2: 'L 0 5 0' is not a request"),
        ("hbm_pim", "R 0 5 x", "bank, row and column are whole numbers"),
        ("hbm_pim", "R 16 5 0", "bank 16 must be at least 0 and below 16"),
        ("hbm_pim", "B", "has no requests"),
        ("hbm_pim", HAB + "R 4 5 0", "request 5, to bank 4, never starts"),
        ("aim", "AiM MAC_ABK 8 1 0", "must end with the one request `AiM EOC`"),
        ("aim", "AiM MAC_ABK 8 1\nAiM EOC", "write `AiM MAC_ABK opsize mask row`"),
        ("aim", "AiM MAC_SBK 1 1 0 0\nAiM EOC", "request 'MAC_SBK' is unknown"),
        ("aim", "AiM MAC_ABK 0 1 0\nAiM EOC", "opsize 0 must be at least 1"),
        ("aim", "AiM RD_MAC 0 0\nAiM EOC", "channel mask 0 must name 1 to 32 channels"),
        ("aim", "R 0 5 0", "is not a request; it starts with `AiM` and its name"),
    ],
)
def test_wrong_requests_of_other_command_sets_are_refused(
    simulate: Simulate, command_set: str, text: str, said: str
) -> None:
    Path("requests.txt").write_text(text)
    assert said in refusal(simulate, "requests.txt", "--command-set", command_set)


def test_a_timing_file_of_a_command_set_names_what_it_lacks(simulate: Simulate) -> None:
    Path("requests.txt").write_text("AiM EOC\n")
    Path("own.toml").write_text("[timing]\npreset = 'GDDR6_AiM'\nn_rp_cycles = -1\nn_rcd = 1\n")
    text = refusal(simulate, "requests.txt", "--command-set", "aim", "--timing", "own.toml")
    assert "n_rp_cycles = -1 must be a whole number of at least 0" in text
    assert "n_rcd is not a timing of this command set" in text
