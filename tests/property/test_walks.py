"""The compiled walks of the analytic fidelity against their slow twin, to the cycle."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
import slow_all_bank
from slow_walks import Walk, with_refreshes

from pimreplay.cost import analytic_fidelity as analytic
from pimreplay.cost.walks import all_bank
from pimreplay.cost.walks import bank_group as _bank_walk
from pimreplay.cost.walks import buffer as _buffer_walk
from pimreplay.cost.walks import parameters as w
from pimreplay.hardware import reading as hardware

LEVELS = {"bg": _bank_walk.walk_banks, "buffer": _buffer_walk.walk_buffer}


def walked(level: str, blocks: np.ndarray, head_dim: int, q_heads: int) -> None:
    """Compare what both find for the blocks (points, n_blocks)."""
    hbm = hardware.load(f"attacc_hbm3_{level}")
    geometry = hbm.geometry(head_dim)
    if level == "buffer":
        p = analytic.buffer_parameters(geometry, q_heads)
    else:
        p = analytic.bank_group_parameters(geometry, q_heads, blocks.shape[1])
    tails = analytic.tails(geometry, q_heads, 1 << 8)
    found = np.zeros((w.FIELDS, len(blocks)), dtype=np.int64)
    LEVELS[level](analytic.in_words(blocks)[0], p, tails, found)
    for point, chosen in enumerate(blocks):
        slow = Walk([int(value) for value in p], tails)
        assert slow.step([int(i) for i in np.flatnonzero(chosen)]) == found[:, point].tolist()


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_walk_finds_what_its_slow_twin_finds(level: str, data: st.DataObject) -> None:
    n_blocks = data.draw(st.integers(1, 700))
    if data.draw(st.booleans()):
        chosen = data.draw(st.sets(st.integers(0, n_blocks - 1), max_size=40))
    else:
        apart = data.draw(st.sampled_from((1, 2, 8, 32)))
        first = data.draw(st.integers(0, n_blocks - 1))
        chosen = set(range(first, n_blocks, apart)[:40])
    blocks = np.zeros((1, n_blocks), dtype=bool)
    blocks[0, list(chosen)] = True
    head_dim = data.draw(st.sampled_from((64, 80, 128, 256)))
    q_heads = data.draw(st.sampled_from((1, 2, 4)))
    walked(level, blocks, head_dim, q_heads)


@pytest.mark.parametrize("level", LEVELS)
def test_a_point_does_not_depend_on_those_before_it(level: str) -> None:
    random = np.random.default_rng(3)
    shares = np.array([1.0, 0.02, 0.0, 0.3, 0.05])[:, None]
    walked(level, random.random((5, 256)) < shares, 128, 2)


@settings(deadline=None, derandomize=True)
@given(data=st.data())
def test_refreshes_delay_what_a_walk_finds_one_after_the_other(data: st.DataObject) -> None:
    geometry = hardware.load("attacc_hbm3_bg").geometry(128)
    timing, q_heads = geometry.hardware.timing, 3
    macs = geometry.key_columns * q_heads, geometry.value_slices * q_heads
    lasted = data.draw(st.lists(st.integers(0, 30_000), min_size=4, max_size=4))
    found = np.zeros((w.FIELDS, 1), dtype=np.int64)
    found[[w.KEY_END, w.VALUE_BEGIN, w.VALUE_END, w.END], 0] = np.cumsum(lasted)
    for field in (w.BLOCKS, w.KEY_ROWS, w.VALUE_ROWS, w.KEY_OPEN, w.VALUE_OPEN):
        found[field] = data.draw(st.integers(1, 99))
    cost = timing.n_rfc_cycles + 1 + timing.n_rcdrd_cycles
    slow = with_refreshes(found[:, 0].tolist(), timing.n_refi_cycles, cost, *macs)
    analytic._add_refreshes(found, geometry, q_heads)
    assert slow == found[:, 0].tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_bank_level_walk_finds_what_its_slow_twin_finds(data: st.DataObject) -> None:
    n_blocks = data.draw(st.integers(1, 1500))
    share = data.draw(st.sampled_from((0.003, 0.05, 0.4, 1.0)))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    blocks = random.random((3, n_blocks)) < share
    q_heads = data.draw(st.sampled_from((1, 2, 4)))
    hbm = hardware.load("attacc_hbm3_bank")
    hbm = replace(hbm, refresh=data.draw(st.booleans()))
    geometry = hbm.geometry(data.draw(st.sampled_from((64, 96, 128))))
    p = analytic.parameters_of(geometry, q_heads)
    tails = analytic.tails(geometry, q_heads, 1 << 8)
    key, value = geometry.key_blocks_per_row, geometry.value_blocks_per_row
    words, unit = analytic.in_words(blocks, key, value)
    times = analytic.row_times(geometry, q_heads)
    found = np.zeros((w.FIELDS, len(blocks)), dtype=np.int64)
    all_bank.walk_all_bank(words, key // unit, value // unit, p, *times, tails, found)
    for point, chosen in enumerate(blocks):
        places = [int(i) for i in np.flatnonzero(chosen)]
        slow = slow_all_bank.step(places, [int(one) for one in p], *times, tails)
        assert slow == found[:, point].tolist()
