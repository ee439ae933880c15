"""The analytic fidelity against the scheduler on random selections."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimreplay.bank_model.scheduler import schedule
from pimreplay.cost.command_fidelity import HeadStream
from pimreplay.cost.step_cost import head_step_cost
from pimreplay.hardware import reading as hardware

CASES = [("bank", (1, 2, 4), 0.05), ("bg", (1, 2, 4), 0.05), ("buffer", (1, 2, 4), 0.05)]


@pytest.mark.parametrize(("level", "q_heads", "bound"), CASES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_cycles_of_a_small_selection_stay_within_the_stated_bound(
    level: str, q_heads: tuple[int, ...], bound: float, data: st.DataObject
) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    n_blocks = data.draw(st.integers(16, 300))
    chosen = data.draw(st.sets(st.integers(0, n_blocks - 1), min_size=1, max_size=40))
    queries = data.draw(st.sampled_from(q_heads))
    head_dim = data.draw(st.sampled_from((64, 128)))
    blocks = np.zeros((1, n_blocks), dtype=bool)
    blocks[0, list(chosen)] = True
    fast = head_step_cost(device, head_dim, 2, blocks, queries, "analytic")
    true = head_step_cost(device, head_dim, 2, blocks, queries, "command")
    assert abs(fast.cycles[0] / true.cycles[0] - 1) < bound


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_a_median_selection_is_off_by_less_than_two_percent(level: str) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    random = np.random.default_rng(0)
    errors = []
    for q_heads, share in ((1, 0.02), (1, 0.1), (4, 0.1), (1, 1.0), (4, 1.0)):
        blocks = random.random((4, 512)) < share
        fast = head_step_cost(device, 128, 2, blocks, q_heads, "analytic").cycles
        true = head_step_cost(device, 128, 2, blocks, q_heads, "command").cycles
        errors += list(np.abs(fast / true - 1))
    assert np.median(errors) < 0.02


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("q_heads", [1, 4])
@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_activations_are_those_that_the_scheduler_issues(
    level: str, q_heads: int, step: int
) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    blocks = np.zeros(600, dtype=bool)
    blocks[3:400:step] = True
    issued = schedule(
        HeadStream(device, device.geometry(128, 2), len(blocks), q_heads).step(blocks),
        replace(device.organisation, channels=1),
        device.timing,
    )
    true = head_step_cost(device, 128, 2, blocks[None], q_heads, "command")
    assert true.n_activations[0] == issued.row_activations
    fast = head_step_cost(device, 128, 2, blocks[None], q_heads, "analytic")
    assert abs(fast.n_activations[0] / issued.row_activations - 1) < 0.06
