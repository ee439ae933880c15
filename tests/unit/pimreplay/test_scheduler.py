"""The scheduler against the reference's own numbers, and rule by rule."""

import os
import subprocess
import sys
from typing import Any

import pytest
from bank_model import GOLDEN, cases, device, read_lines, requests

from pimreplay.bank_model import commands
from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import Requests
from pimreplay.bank_model.kernel import commands as _kernel
from pimreplay.bank_model.scheduler import Scheduler, schedule
from pimreplay.bank_model.simulate import simulate
from tracegen.base.errors import UserError

TRACED = [case for case in cases("micro", "sparse", "attacc", "starc") if case["trace"]]


@pytest.mark.parametrize("case", TRACED, ids=lambda case: case["name"])
def test_a_golden_trace_takes_exactly_the_cycles_of_the_reference(case: dict[str, Any]) -> None:
    org, timing = device(case["timing"], case["org"])
    result = simulate(GOLDEN / "traces" / case["trace"], org, timing, refresh=case["refresh"])
    assert result.outcome.cycles == case["cycles"]
    assert result.outcome.requests == case["requests"]


def test_the_kernel_numbers_commands_as_the_commands_module_does() -> None:
    for number, name in enumerate(commands.COMMANDS):
        assert getattr(_kernel, name.upper()) == number
    assert commands.DATA == _kernel.DATA
    assert [commands.COMMANDS[n] for n in _kernel.FINAL] == list(commands.FINAL_COMMANDS)


def one(word: str, **where: int) -> tuple[str, int]:
    org, _ = device()
    return word, AddressMap.of(org).address(**where)


def cycles(lines: list[tuple[str, int]], **options: bool) -> int:
    org, timing = device()
    return schedule(requests(lines), org, timing, **options).cycles


def test_a_read_takes_activate_read_and_data() -> None:
    _, t = device()
    # the activate goes in cycle 1
    assert cycles([one("LD")]) == 1 + t.n_rcdrd_cycles + t.n_cl_cycles + t.n_bl_cycles


def test_a_second_read_of_an_open_row_needs_no_activate() -> None:
    org, timing = device()
    lines = [one("LD", column=0), one("LD", column=1)]
    assert schedule(requests(lines), org, timing).commands == {"ACT": 1, "RD": 2}


def test_two_all_bank_macs_of_one_row_are_n_ccdab_apart() -> None:
    _, t = device()
    two = cycles([one("PIM_MAC_AB"), one("PIM_MAC_AB", column=1)])
    assert two - cycles([one("PIM_MAC_AB")]) == t.n_ccdab_cycles


def test_another_row_costs_precharge_and_activate() -> None:
    _, t = device()
    two = cycles([one("PIM_MAC_AB"), one("PIM_MAC_AB", row=1)])
    # tRAS holds the precharge back longer than the single MAC does
    assert two == 1 + t.n_ras_cycles + t.n_rp_cycles + t.n_rcdrd_cycles


def test_a_move_passes_a_mac_that_waits_for_its_row() -> None:
    org, timing = device()
    scheduler = Scheduler(org, timing, fold=False, log_commands=10)
    scheduler.feed(requests([one("PIM_MAC_AB"), one("PIM_MV_SB", bank_group=1)]))
    scheduler.finish()
    names = [commands.COMMANDS[number] for number in scheduler.log()[:, 2]]
    assert names == ["ACTAB", "MVSB", "MACAB"]


def test_a_move_to_the_bank_of_a_mac_waits_while_its_open_row_is_wanted() -> None:
    org, timing = device()
    scheduler = Scheduler(org, timing, fold=False, log_commands=10)
    macs = [one("PIM_MAC_AB", column=column) for column in range(3)]
    scheduler.feed(requests([*macs, one("PIM_MV_SB")]))
    scheduler.finish()
    names = [commands.COMMANDS[number] for number in scheduler.log()[:, 2]]
    assert names[-1] == "MVSB"


def test_a_barrier_holds_column_commands_and_lets_row_commands_pass() -> None:
    org, timing = device()
    scheduler = Scheduler(org, timing, fold=False, log_commands=20)
    moves = [one("PIM_WR_GB", bank=bank) for bank in range(4)]
    scheduler.feed(requests([*moves, one("PIM_BARRIER"), one("PIM_MAC_AB")]))
    scheduler.finish()
    log = scheduler.log()
    when = {commands.COMMANDS[command]: cycle for cycle, _, command, *_ in log}
    assert when["ACTAB"] == 1
    assert when["MACAB"] > when["WRGB"]


def test_a_refresh_delays_a_stream_of_macs_by_n_rfc_instead_of_n_rp() -> None:
    _org, t = device()
    lines = [
        one("PIM_MAC_AB", row=index // 32, column=index % 32)
        for index in range(2 * t.n_refi_cycles // t.n_ccdab_cycles // 2)
    ]
    with_refresh, without = cycles(lines), cycles(lines, refresh=False)
    assert without > t.n_refi_cycles
    assert with_refresh - without == t.n_rfc_cycles + 1 - t.n_rp_cycles


def test_a_full_queue_of_one_channel_stalls_the_others() -> None:
    busy = [one("PIM_MAC_AB", row=row) for row in range(40)]
    other = one("PIM_MV_GB", channel=1)
    alone = cycles(busy)
    org, timing = device()
    scheduler = Scheduler(org, timing, fold=False, log_commands=1000)
    scheduler.feed(requests([*busy, other]))
    scheduler.finish()
    moved = [cycle for cycle, channel, *_ in scheduler.log() if channel == 1]
    assert moved[0] > alone // 10


@pytest.mark.parametrize("name", ["micro-mix08-5.2Gbps", "starc-dh128-nh16-L256-kv128-cluster"])
def test_any_cutting_of_the_input_and_no_folding_give_the_same_cycles(name: str) -> None:
    case = next(case for case in TRACED if case["name"] == name)
    org, timing = device(case["timing"], case["org"])
    whole = requests(read_lines(GOLDEN / "traces" / case["trace"]))
    for size, fold in ((1000, True), (7, True), (10**9, False)):
        scheduler = Scheduler(org, timing, fold=fold)
        for start in range(0, len(whole), size):
            end = start + size
            scheduler.feed(Requests(whole.kind[start:end], whole.address[start:end]))
        assert scheduler.finish().cycles == case["cycles"]


def test_a_read_finds_a_write_in_the_queue_of_any_channel() -> None:
    lines = [("ST", 0x1A4000160), ("ST", 0x1E4000160), ("ST", 0x224000160), ("LD", 0x224000160)]
    for fold in (True, False):
        scheduler = Scheduler(*device("HBM3_5.2Gbps_NPC"), fold=fold)
        scheduler.feed(requests(lines))
        assert scheduler.finish().cycles == 20  # the reference's


def test_a_bank_may_hold_many_open_rows() -> None:
    # an all-bank activate opens its row beside rows of banks that were not closed
    lines = []
    for row in range(12):
        lines += [one("LD", row=row), one("LD", row=100 + row), one("PIM_MAC_SB", row=200 + row)]
    org, timing = device()
    folded = schedule(requests(lines), org, timing)
    assert folded.requests == {"read": 24, "pim_mac_same_bank": 12}


@pytest.mark.parametrize("refresh", [True, False])
def test_a_controller_that_can_never_finish_is_reported(refresh: bool) -> None:
    # each request closes the row that the other one has opened, in the reference for ever
    lines = [one("PIM_MAC_SB", row=0), one("PIM_MAC_SB", bank_group=1, row=1)]
    with pytest.raises(UserError, match="finishes no request"):
        cycles(lines, refresh=refresh)


def test_a_channel_may_wait_for_others_for_more_than_a_million_cycles() -> None:
    org, timing = device()
    # channel 1 is idle while channel 0 works, and its refreshes go on
    lines = [one("LD", channel=1), *[one("PIM_MAC_AB")] * 180_000, one("LD", channel=1)]
    outcome = schedule(requests(lines), org, timing)
    assert outcome.cycles > 1_000_000
    assert outcome.requests == {"read": 2, "pim_mac_all_bank": 180_000}


def test_the_kernel_gives_the_same_cycles_without_its_compiler() -> None:
    names = ["micro-mac_ab_one_row-5.2Gbps", "micro-barrier_pairs-5.2Gbps"]
    wanted = [case for case in TRACED if case["name"] in names]
    paths = [str(GOLDEN / "traces" / case["trace"]) for case in wanted]
    script = (
        "import sys\nfrom pathlib import Path\nfrom pimreplay.bank_model.simulate import simulate\n"
        "from pimreplay.hardware.preset_files import load_organisation, load_timing\n"
        "org = load_organisation('HBM3_8Gb_2R')\n"
        "timing = load_timing('HBM3_5.2Gbps', org)\n"
        "for path in sys.argv[1:]:\n"
        "    print(simulate(Path(path), org, timing).outcome.cycles)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *paths],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line) for line in done.stdout.split()] == [case["cycles"] for case in wanted]
