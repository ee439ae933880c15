"""Random requests to AiM and HBM-PIM: kernel, slow twin and legality checker agree on all."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
import legality
import slow_aim
import slow_hbm_pim

from pimreplay.command_sets import aim, hbm_pim, load_timing
from pimreplay.command_sets.aim.requests import CHANNELS, parse_request
from tracegen.base.errors import UserError

QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
AIM = load_timing("aim", "GDDR6_AiM")
AIM_NAMES = {
    f"n{name[2:-7].upper()}": value
    for name in aim.Timing.__slots__
    if (value := getattr(AIM, name)) is not None and name != "t_ck_ps"
}
HBM = load_timing("hbm_pim", "HBM2_PIM_2Gbps")
HBM_NAMES = {
    "BL": 2, "RL": 20, "WL": 8, "tCCDS": 2, "tCCDL": 4, "tRCDRD": 14, "tRCDWR": 10, "tRAS": 33,
    "tRC": 47, "tRP": 14, "tRRDS": 4, "tRRDL": 6, "tRTPL": 5, "tWR": 16, "tWTRL": 9, "tRTRS": 1,
    "tREFI": 3900, "tRFC": 350,
}  # fmt: skip

masks = st.sampled_from(["1", "2", "3", "0x80000001"])
rows = st.integers(0, 2)
aim_lines = st.one_of(
    st.builds("AiM MAC_ABK {} {} {}".format, st.integers(1, 40), masks, rows),
    st.builds("AiM EWMUL {} {} {}".format, st.integers(1, 6), masks, rows),
    st.builds("AiM WR_GB {} 0 {}".format, st.integers(1, 40), masks),
    st.builds("AiM WR_BIAS 0 {}".format, masks),
    st.builds("AiM RD_MAC 0 {}".format, masks),
    st.builds("AiM RD_AF 0 {}".format, masks),
    st.builds("AiM AF {}".format, masks),
    st.builds("AiM WR_ABK 0 {} {}".format, masks, rows),
    st.just("AiM SYNC"),
)


@QUICK
@given(st.lists(aim_lines, max_size=12))
def test_aim_kernel_twin_and_rules_agree(lines: list[str]) -> None:
    lines = [*lines, "AiM EOC"]
    requests = np.array([parse_request("drawn", line) for line in lines])
    cycles, twin = slow_aim.simulate(lines, AIM_NAMES)
    assert aim.simulate(requests, AIM).cycles == cycles
    log = aim.commands_of(requests, AIM)
    for channel in range(CHANNELS):
        own = log[log[:, 1] == channel]
        commands = [(int(at), aim.COMMANDS[what]) for at, _, what, _ in own]
        assert commands == [(at, what) for at, what, _ in twin[channel]]
        entries = [(int(at), aim.COMMANDS[what], 0, int(row)) for at, _, what, row in own]
        assert not legality.memory_violations(
            entries,
            lambda before, after, _bank, _group: slow_aim.distance(before, after, AIM_NAMES),
            16,
        )


banks = st.sampled_from([0, 1])
hbm_rows = st.sampled_from([5, 5, 6, 0x17FF, 0x1FFF, 0x3FFF])
hbm_lines = st.one_of(
    st.builds("R {} {} {}".format, banks, hbm_rows, st.sampled_from([0, 1, 31])),
    st.builds(
        "W {} {} {} {}".format, banks, hbm_rows, st.sampled_from([0, 1, 31]), st.integers(0, 3)
    ),
    st.just("B"),
    st.just("W 0 6143 31\nW 1 6143 31\nW 8 6143 31\nW 9 6143 31\nB"),
    st.just("W 0 8191 31\nW 1 8191 31\nB"),
)


single_bank_lines = st.one_of(
    st.builds("R {} {} {}".format, st.integers(0, 15), st.integers(5, 6), st.integers(0, 31)),
    st.builds("W {} {} {}".format, st.integers(0, 15), st.integers(5, 6), st.integers(0, 31)),
    st.just("B"),
)


@settings(QUICK, max_examples=60)
@given(
    st.one_of(
        st.lists(hbm_lines, min_size=8, max_size=30),
        st.lists(single_bank_lines, min_size=20, max_size=90),
    ),
    st.sampled_from([True, True, False]),
    st.sampled_from([90, 120, 700, 3900]),
)
@example(["R 0 5 0", "R 0 6 0", "R 0 7 0", "R 0 8 0"], True, 90)
def test_hbm_pim_kernel_twin_and_rules_agree(drawn: list[str], refresh: bool, refi: int) -> None:
    lines = [*"\n".join(drawn).split("\n"), "W 0 8191 31", "W 1 8191 31", "B"]
    rfc = 350 if refi == 3900 else 40
    timing = replace(HBM, n_refi_cycles=refi, n_rfc_cycles=rfc)
    names = {**HBM_NAMES, "tREFI": refi, "tRFC": rfc}
    requests = hbm_pim.parse_requests("drawn", lines)
    cycles, twin = slow_hbm_pim.simulate(lines, names, refresh=refresh)
    if cycles < 0:
        with pytest.raises(UserError, match="never starts"):
            hbm_pim.simulate(requests, timing, refresh=refresh)
        return
    assert hbm_pim.simulate(requests, timing, refresh=refresh).cycles == cycles
    log = hbm_pim.commands_of(requests, timing, refresh=refresh)
    entries = [
        (int(at), hbm_pim.COMMANDS[what], int(bank), int(row)) for at, what, _, bank, row, _ in log
    ]
    assert entries == twin[: len(entries)]
    assert not legality.memory_violations(
        entries,
        lambda before, after, bank, group: slow_hbm_pim.distance(before, after, bank, group, names),
        16,
    )
