"""Random request streams: kernel, slow twin and legality checker must agree on all of them."""

import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

sys.path[:0] = [
    str(Path(__file__).parents[1] / "reference"),
    str(Path(__file__).parents[1] / "unit" / "pimreplay"),
]
import legality  # noqa: E402
import slow_scheduler  # noqa: E402
from bank_model import device, names_of, requests  # noqa: E402

from pimreplay.bank_model.address_map import AddressMap  # noqa: E402
from pimreplay.bank_model.commands import COMMANDS, Requests  # noqa: E402
from pimreplay.bank_model.scheduler import Scheduler, schedule  # noqa: E402
from pimreplay.hardware.organisation import Organisation  # noqa: E402
from pimreplay.hardware.preset_files import timing_names  # noqa: E402
from pimreplay.hardware.timing import Timing  # noqa: E402
from tracegen.base.errors import UserError  # noqa: E402

SHAPE = (2, 2, 4, 4)
TWO = (2, *SHAPE, 1 << 14)
QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking would run the slow twin for minutes
    suppress_health_check=[HealthCheck.too_slow],
)
MIXES = {
    "all-bank": ["PIM_MAC_AB", "PIM_WR_GB", "PIM_MV_SB", "PIM_MV_GB", "PIM_SFM", "PIM_BARRIER"],
    "same-bank": ["PIM_MAC_SB", "PIM_MV_SB", "PIM_BARRIER"],
    "per-bank": ["PIM_MAC_PB", "PIM_MV_SB", "PIM_WR_GB", "PIM_BARRIER", "PIM_SET_MODEL"],
    "memory": ["LD", "ST"],
    "memory and moves": ["LD", "ST", "PIM_MV_SB", "PIM_SFM", "PIM_BARRIER"],
}


def small(name: str = "HBM3_5.2Gbps") -> tuple[Organisation, Timing]:
    """Two channels, so that the twin need not tick fourteen idle ones."""
    org, timing = device(name)
    return replace(org, channels=2), timing


@st.composite
def streams(draw: st.DrawFn, kinds: list[str], most: int = 40, channels: int = 2) -> list:
    m = AddressMap.of(small()[0])
    lines = []
    rows = draw(st.sampled_from([1, 2, 5]))
    for _ in range(draw(st.integers(1, 12))):
        word = draw(st.sampled_from(kinds))
        lone = word in ("PIM_MAC_AB", "PIM_MAC_SB")  # as traces address them
        for _ in range(draw(st.integers(1, 8))):
            lines.append(
                (
                    word,
                    m.address(
                        channel=draw(st.integers(0, channels - 1)),
                        pseudo_channel=0 if lone else draw(st.integers(0, 1)),
                        rank=0 if lone else draw(st.integers(0, 1)),
                        bank_group=0 if lone else draw(st.integers(0, 3)),
                        bank=0 if word == "PIM_MAC_AB" else draw(st.integers(0, 1)),
                        row=draw(st.integers(0, rows - 1)),
                        column=draw(st.integers(0, 3)),
                    ),
                )
            )
    return lines[:most]


@pytest.mark.parametrize("mix", MIXES)
@given(data=st.data())
@QUICK
def test_the_kernel_issues_every_command_when_the_slow_twin_does(
    mix: str, data: st.DataObject
) -> None:
    lines = data.draw(streams(MIXES[mix]))
    name = data.draw(st.sampled_from(timing_names()))
    org, timing = small(name)
    scheduler = Scheduler(org, timing, fold=False, log_commands=20_000)
    scheduler.feed(requests(lines))
    cycles = scheduler.finish().cycles
    twin: dict[int, list] = {}
    assert cycles == slow_scheduler.simulate(lines, names_of(timing), TWO, log=twin)
    mine: dict[int, list] = {}
    for cycle, channel, command, bank, row in scheduler.log().tolist():
        place = legality.place_of(bank, SHAPE, COMMANDS[command])
        where = (channel, *place[:1], *(place[1:] or (-1,) * 3), row)
        if row < 0:
            where = (channel, place[0], -1, -1, -1, -1)
        mine.setdefault(channel, []).append((cycle, COMMANDS[command], where))
    assert mine == {channel: log for channel, log in twin.items() if log}
    assert schedule(requests(lines), org, timing).cycles == cycles  # folded


@st.composite
def rounds(draw: st.DrawFn, kinds: list[str], channels: int) -> list:
    """Rounds over all channels with a few requests for each; now and then some are left out."""
    m = AddressMap.of(small()[0])
    lines = []
    by_word = draw(st.booleans())
    # of one row and column, a read finds writes in the queue
    rows, columns, often = draw(st.sampled_from([(3, 32, 20), (3, 32, 20), (1, 1, 3)]))
    for _ in range(draw(st.integers(1, 6))):
        words = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=10))
        banks = [draw(st.integers(0, 3)) for _ in words]
        for turn in range(draw(st.integers(1, 30))):
            row, column = turn % rows, turn % columns
            first = draw(st.sampled_from([0] * often + [1, channels - 1]))
            last = draw(st.sampled_from([channels] * often + [channels - 1]))
            part = [
                [
                    (word, m.address(channel=channel, bank=bank, row=row, column=column))
                    for word, bank in zip(words, banks, strict=True)
                ]
                for channel in range(first, last)
            ]
            lines += chain.from_iterable(zip(*part, strict=True) if by_word else part)
    return lines


@pytest.mark.parametrize("mix", MIXES)
@given(data=st.data())
@settings(QUICK, max_examples=20)
def test_folded_channels_issue_what_each_would_alone(mix: str, data: st.DataObject) -> None:
    lines = data.draw(rounds(MIXES[mix], 4))
    org, timing = replace(small()[0], channels=4), small()[1]
    stream, cut = requests(lines), data.draw(st.integers(0, len(lines)))
    alone, folded = Scheduler(org, timing, fold=False), Scheduler(org, timing)
    try:
        alone.feed(stream)
        expected = alone.finish()
    except UserError:
        reject()
    for part in (slice(cut), slice(cut, None)):
        folded.feed(Requests(stream.kind[part], stream.address[part]))
    assert folded.finish() == expected


@pytest.mark.parametrize("mix", MIXES)
@given(data=st.data())
@QUICK
def test_no_command_breaks_a_rule(mix: str, data: st.DataObject) -> None:
    lines = data.draw(streams(MIXES[mix]))
    org, timing = small(data.draw(st.sampled_from(timing_names())))
    scheduler = Scheduler(org, timing, fold=False, log_commands=20_000)
    scheduler.feed(requests(lines))
    scheduler.finish()
    log = [(c, ch, COMMANDS[n], bank, row) for c, ch, n, bank, row in scheduler.log().tolist()]
    log = [entry for entry in log if entry[2] != "BARRIER"]
    assert legality.violations(log, names_of(timing), SHAPE) == []


@pytest.mark.parametrize("mix", ["all-bank", "same-bank", "per-bank"])
@given(data=st.data())
@QUICK
def test_no_command_could_have_gone_sooner(mix: str, data: st.DataObject) -> None:
    kinds = [kind for kind in MIXES[mix] if kind != "PIM_BARRIER"]
    lines = data.draw(streams(kinds, most=25, channels=1))
    org, timing = small()
    scheduler = Scheduler(org, timing, refresh=False, fold=False, log_commands=20_000)
    try:
        scheduler.feed(requests(lines))
        scheduler.finish()
    except UserError:
        reject()  # these rows keep closing each other, in the reference too
    log = [(c, ch, COMMANDS[n], bank, row) for c, ch, n, bank, row in scheduler.log().tolist()]
    assert legality.could_go_sooner(log, names_of(timing), SHAPE) == []


def test_the_checker_sees_a_command_that_is_too_early() -> None:
    timing = names_of(device()[1])
    log = [(1, 0, "ACTAB", 0, 0), (1 + timing["nRCDRD"] - 1, 0, "MACAB", 0, 0)]
    assert "allowed from" in legality.violations(log, timing, SHAPE)[0]
    closed = [(100, 0, "MACAB", 0, 0)]
    assert "not open" in legality.violations(closed, timing, SHAPE)[0]
    assert (
        "one bus"
        in legality.violations([(1, 0, "WRGB", 0, 0), (1, 0, "SFM", 4, 0)], timing, SHAPE)[0]
    )


def test_the_checker_sees_a_command_that_is_late() -> None:
    timing = names_of(device()[1])
    log = [(1, 0, "ACTAB", 0, 0), (1 + timing["nRCDRD"] + 5, 0, "MACAB", 0, 0)]
    assert "could go" in legality.could_go_sooner(log, timing, SHAPE)[0]


@given(data=st.data())
@QUICK
def test_more_requests_never_take_fewer_cycles(data: st.DataObject) -> None:
    lines = data.draw(streams(["PIM_MAC_AB"], channels=1))
    org, timing = small()
    cycles = [schedule(requests(lines[:n]), org, timing).cycles for n in range(1, len(lines) + 1)]
    assert cycles == sorted(cycles)
