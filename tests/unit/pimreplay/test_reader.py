"""Traces that are wrong: each is refused with the file, the line, and what is allowed."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from bank_model import device

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.command_trace import CHUNK_BYTES, read_command_trace
from pimreplay.bank_model.commands import REQUEST_WORDS
from pimreplay.bank_model.simulate import simulate
from pimreplay.hardware.preset_files import load_organisation
from tracegen.base.errors import UserError

MAP = AddressMap.of(device()[0])


def read(path: Path) -> list[tuple[str, int]]:
    return [
        (REQUEST_WORDS[kind], address)
        for part in read_command_trace(path, MAP)
        for kind, address in zip(part.kind.tolist(), part.address.tolist(), strict=True)
    ]


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_word_and_both_number_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "all.trace"
    path.write_text("".join(f"{word} 0x{n:08X}\n" for n, word in enumerate(REQUEST_WORDS)))
    assert read(path) == [(word, n) for n, word in enumerate(REQUEST_WORDS)]
    path.write_text("LD 4096\nST 0xff")  # the last line needs no end
    assert read(path) == [("LD", 4096), ("ST", 255)]


def test_a_trace_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.trace.gz"
    lines = CHUNK_BYTES // 10
    path.write_bytes(gzip.compress(b"".join(b"PIM_MAC_AB 0x%08x\n" % n for n in range(lines))))
    assert read(path) == [("PIM_MAC_AB", n) for n in range(lines)]


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "marked.trace"
    path.write_text("LD 0x20\n", encoding="utf-8-sig")
    assert read(path) == [("LD", 0x20)]
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path) == [("LD", 0x20)]


def test_an_address_of_a_rank_or_channel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    org = load_organisation("HBM3_12Gb_3R")
    three = AddressMap.of(replace(org, channels=3))
    path = tmp_path / "ranks.trace"
    last = three.address(channel=2, rank=2)
    for bad, expected in (
        (three.address(rank=3), "line 2: address 0x30000000 names rank 3; the device has 3 ranks"),
        (three.address(channel=3), "is outside the device, which ends at 0x17fffffff"),
    ):
        path.write_text(f"LD {last:#x}\nLD {bad:#x}\n")
        with pytest.raises(UserError) as caught:
            list(read_command_trace(path, three))
        assert expected in str(caught.value)
    path.write_text(f"LD {last:#x}\n")
    assert [part.address.tolist() for part in read_command_trace(path, three)] == [[last]]


def test_a_long_simulation_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.trace"
    path.write_text("LD 0x0\n" * 3)
    monkeypatch.setattr("pimreplay.bank_model.announced.EVERY_S", 1e9)
    simulate(path, *device())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("pimreplay.bank_model.announced.EVERY_S", 0.0)
    simulate(path, *device())
    assert capsys.readouterr().err == f"{path}: 3 requests scheduled\n"


def test_gzip_members_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "two.trace.gz"
    path.write_bytes(gzip.compress(b"LD 0x0\n") + gzip.compress(b"ST 0x20\n"))
    assert read(path) == [("LD", 0), ("ST", 32)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"PIM_MAC_AX 0x0", "did you mean PIM_MAC_AB"),
        (b"LD", "an address"),
        (b"LD zero", "an address"),
        (b"LD 0x", "an address"),
        (b"LD 0x10 0x20", "an address"),
        (b"LD -5", "an address"),
        (b"", "not a request"),
        (b"# a comment", "not a request"),
        (b"\xff\xfe\x00", "not a request"),
        (b"LD 0x400000000", "outside the device, which ends at 0x3ffffffff"),
        (b"LD 99999999999999999999999999", "outside the device"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, line: bytes, expected: str) -> None:
    message = refusal(tmp_path / "bad.trace", b"LD 0x0\n" + line + b"\nST 0x0\n")
    assert "line 2" in message
    assert expected in message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refusal(tmp_path / "a.trace", b"")
    assert "empty" in refusal(tmp_path / "a.trace.gz", b"")
    assert "no request" in refusal(tmp_path / "b.trace.gz", gzip.compress(b""))


def test_a_truncated_or_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"LD 0x0\n" * 5000)
    assert "cut short" in refusal(tmp_path / "a.trace.gz", packed[:-20])
    assert "cut short" in refusal(tmp_path / "a.trace.gz", packed[:12])
    damaged = packed[:30] + b"\0\0\0\0\0\0" + packed[36:]
    assert "gzip" in refusal(tmp_path / "a.trace.gz", damaged)
    assert "not a gzip file" in refusal(tmp_path / "a.trace.gz", b"LD 0x0\n")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.trace", tmp_path):
        with pytest.raises(UserError, match="give the path"):
            read(path)


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    assert "line 1" in refusal(tmp_path / "a.trace", b"x" * 5000)


def test_the_report_names_peak_and_achieved_bandwidth(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    path.write_text("".join(f"PIM_MAC_AB 0x{32 * n:x}\n" for n in range(32)))
    org, timing = device()
    report = simulate(path, org, timing)
    time_ns = report.outcome.cycles * 0.769
    assert report.internal_bytes == 32 * 64 * 32
    assert report.achieved_gbps == pytest.approx(report.internal_bytes / time_ns)
    assert report.peak_gbps == pytest.approx(16 * 64 * 32 / (6 * 0.769))
