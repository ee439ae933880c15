"""The timeline of a command trace: every command where and when the scheduler issued it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pimreplay.bank_model import timeline
from pimreplay.bank_model.commands import COMMANDS
from pimreplay.bank_model.simulate import simulate
from pimreplay.bank_model.timeline import duration_cycles
from pimreplay.hardware.preset_files import load_organisation, load_timing
from tests.end_to_end.test_pimreplay_simulate import (
    TINY,
    Simulate,
    refusal,
)
from tracegen.base.errors import UserError

ORG = load_organisation("HBM3_8Gb_2R")
TIMES = load_timing("HBM3_5.2Gbps", ORG)


def drawn(folder: Path, trace: bytes, refresh: bool = False) -> tuple[list[dict], dict]:  # type: ignore[type-arg]
    (folder / "a.trace").write_bytes(trace)
    simulate(folder / "a.trace", ORG, TIMES, refresh=refresh, timeline=folder / "t.json")
    found = json.loads((folder / "t.json").read_text())
    events = [one for one in found["traceEvents"] if one["ph"] == "X"]
    assert found["displayTimeUnit"] == "ns"
    names = {
        (one["pid"], one["tid"], one["name"]): one["args"]["name"]
        for one in found["traceEvents"]
        if one["name"] in ("process_name", "thread_name")
    }
    return events, names


def test_commands_stand_where_and_when_they_were_issued(tmp_path: Path) -> None:
    events, names = drawn(tmp_path, TINY)
    us = TIMES.t_ck_ps / 1e6
    channel = {one["pid"] for one in events}
    assert channel == {0}
    assert [one["name"] for one in events] == ["WRGB", "ACTAB", "MACAB", "MACAB"]
    write, activate, first, second = events
    assert activate["args"]["row"] == 0
    assert first["args"]["cycle"] - activate["args"]["cycle"] == TIMES.n_rcdrd_cycles
    assert second["args"]["cycle"] - first["args"]["cycle"] == TIMES.n_ccdab_cycles
    for one in events:
        assert one["tid"] == 0
        assert one["ts"] == pytest.approx(one["args"]["cycle"] * us)
        assert one["dur"] == pytest.approx(duration_cycles(one["name"], TIMES) * us)
    assert write["dur"] == pytest.approx(TIMES.n_bl_cycles * us)
    assert activate["dur"] == pytest.approx(TIMES.n_rcdrd_cycles * us)
    assert names[0, 0, "process_name"] == "channel 0"
    assert names[0, 0, "thread_name"] == "all banks"


def test_single_banks_and_refreshes_have_rows_of_their_own(tmp_path: Path) -> None:
    loads = "".join(f"LD {hex(bank * 0x4000)}\n" for bank in range(4)).encode() + TINY * 2000
    events, names = drawn(tmp_path, loads, refresh=True)
    reads = [one for one in events if one["name"] in ("ACT", "RD")]
    assert reads and all(one["tid"] > ORG.pseudo_channels for one in reads)
    refreshes = [one for one in events if one["name"] == "REFab"]
    assert refreshes and {one["tid"] for one in refreshes} <= {1, 2}
    shown = {names[one["pid"], one["tid"], "thread_name"] for one in reads + refreshes}
    assert {name.split()[0] for name in shown} == {"bank", "all"}


def test_the_timeline_holds_every_command_that_the_report_counts(tmp_path: Path) -> None:
    trace = TINY * 50 + b"PIM_MV_SB 0x0\nPIM_SFM 0x0\n"
    events, _ = drawn(tmp_path, trace, refresh=True)
    counted = simulate(tmp_path / "a.trace", ORG, TIMES).outcome
    drawn_names = [one["name"] for one in events if one["name"] != "BARRIER"]
    assert {name: drawn_names.count(name) for name in set(drawn_names)} == counted.commands
    assert max(one["args"]["cycle"] for one in events) <= counted.cycles


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_lasts(command: str) -> None:
    assert duration_cycles(command, TIMES) > 0


def test_too_many_commands_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_COMMANDS", 3)
    with pytest.raises(UserError, match=r"a\.trace: --timeline: it issues more than 3 commands"):
        drawn(tmp_path, TINY)
    assert not (tmp_path / "t.json").exists()


def test_the_command_writes_it_and_refuses_what_it_cannot_draw(
    pimreplay_command: Callable[[str], Simulate],
) -> None:
    run_simulate = pimreplay_command("simulate")
    Path("a.trace").write_bytes(TINY)
    code, _, errors = run_simulate("a.trace", "--timeline", "t.json")
    assert code == 0, errors
    assert json.loads(Path("t.json").read_text())["traceEvents"]
    assert "exists already" in refusal(run_simulate, "a.trace", "--timeline", "t.json")
    said = refusal(run_simulate, "a.trace", "a.trace", "--timeline", "u.json")
    assert "2 command traces; give one" in said
    said = refusal(run_simulate, "a.trace", "--command-set", "aim", "--timeline", "u.json")
    assert "not of --command-set aim" in said
    assert not Path("u.json").exists()
