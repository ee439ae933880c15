"""The analytic fidelity against the scheduler on random selections."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pimreplay.bank_model.scheduler import schedule
from pimreplay.cost.command_fidelity import HeadStream
from pimreplay.cost.step_cost import step_cost
from pimreplay.hardware import reading as hardware
from tracegen.base.errors import UserError


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_cycles_of_small_random_selections_stay_within_the_stated_errors(level: str) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    random = np.random.default_rng(0)
    errors = []
    for _ in range(150):
        n_blocks = int(random.integers(16, 300))
        chosen = random.choice(n_blocks, int(random.integers(1, min(40, n_blocks))), replace=False)
        blocks = np.zeros((1, n_blocks), dtype=bool)
        blocks[0, chosen] = True
        geometry, queries = device.geometry(int(random.choice([64, 128]))), random.choice([1, 2, 4])
        fast = step_cost(geometry, blocks, int(queries), "analytic").cycles[0]
        true = step_cost(geometry, blocks, int(queries), "command").cycles[0]
        errors.append(abs(fast / true - 1))
    assert np.median(errors) < 0.01
    assert np.quantile(errors, 0.95) < 0.035
    assert max(errors) < 0.09


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_a_median_selection_is_off_by_less_than_two_percent(level: str) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    random = np.random.default_rng(0)
    errors = []
    for q_heads, share in ((1, 0.02), (1, 0.1), (4, 0.1), (1, 1.0), (4, 1.0)):
        blocks = random.random((4, 512)) < share
        fast = step_cost(device.geometry(128), blocks, q_heads, "analytic").cycles
        true = step_cost(device.geometry(128), blocks, q_heads, "command").cycles
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
        HeadStream(device.geometry(128), len(blocks), q_heads).step(blocks),
        replace(device.organisation, channels=1),
        device.timing,
    )
    true = step_cost(device.geometry(128), blocks[None], q_heads, "command")
    assert true.n_activations[0] == issued.row_activations
    fast = step_cost(device.geometry(128), blocks[None], q_heads, "analytic")
    assert abs(fast.n_activations[0] / issued.row_activations - 1) < 0.06


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_random_organisations_cost_the_same_in_both_fidelities(level: str) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    random = np.random.default_rng(5)
    errors = []
    for _ in range(80):
        org = replace(
            device.organisation,
            channels=int(random.choice([1, 3, 5])),
            pseudo_channels=int(random.choice([1, 2])),
            ranks=int(random.choice([1, 2, 4] if level == "buffer" else [1, 2, 3, 4])),
            columns=int(random.choice([32, 64])),
            access_bytes=int(random.choice([32, 64])),
        )
        geometry = replace(device, organisation=org).geometry(int(random.choice([64, 80, 128])))
        blocks = random.random((1, int(random.choice([32, 100, 300])))) < random.choice([0.05, 0.3])
        blocks[0, 0] = True
        q_heads = int(random.choice([1, 2, 4]))
        fast = step_cost(geometry, blocks, q_heads, "analytic").cycles[0]
        true = step_cost(geometry, blocks, q_heads, "command").cycles[0]
        errors.append(abs(fast / true - 1))
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.95) < 0.05


@pytest.mark.parametrize(
    ("level", "table", "expected"),
    [
        ("buffer", "[organisation]\npreset = 'HBM3_12Gb_3R'", "48 banks in a pseudo-channel"),
        ("buffer", "[timing]\nn_bl_cycles = 40", "40 cycles between MACs; at most 16"),
        ("buffer", "[timing]\nn_rc_cycles = 1200", "1378 cycles from a request to its MAC"),
    ],
)
def test_a_device_that_cannot_be_walked_is_left_to_the_scheduler(
    level: str, table: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(f'schema = 1\nbase = "attacc_hbm3_{level}"\n{table}\nsource = "a test"\n')
    geometry = hardware.load(path).geometry(128)
    blocks = np.ones((1, 8), dtype=bool)
    with pytest.raises(UserError, match=f"{expected}.*; use --fidelity command"):
        step_cost(geometry, blocks, 1, "analytic")
    assert step_cost(geometry, blocks, 1, "command").cycles[0] > 0
