"""STARC's end-to-end claims: the README's line as an anchor, reductions by hand."""

from pathlib import Path

import pytest

from analysis.starc import end_to_end
from analysis.starc.cost import LayerSimulator, simulate_on
from analysis.starc.end_to_end import CLAIMS, Step, findings, step_of
from analysis.starc.row_tokens import read_folder
from analysis.starc.shapes import System, shape_named
from analysis.starc.study import series_of
from analysis.starc.tables import end_to_end_claims_table, end_to_end_table
from pimreplay.hardware.reading import load

GOLDEN = Path(__file__).parents[2] / "golden" / "starc"


def test_the_readmes_line_comes_out_with_eighths() -> None:
    hardware, system = load("attacc_hbm3_bank"), System()
    real = LayerSimulator(system, 16, simulate_on(hardware, 2))
    found = read_folder(GOLDEN)[0]
    series = series_of(
        hardware, system, real, found.shape, found.method, 16_000, found.tokens[:16_000]
    )
    step = step_of(series, 16_000, system)
    assert step.energy_mj == pytest.approx(end_to_end.SAMPLE_MJ, rel=1e-3)
    assert step.attention_ms == pytest.approx(0.075737878, rel=1e-2)  # its clustering apart
    assert step.eighths_ms == pytest.approx(end_to_end.SAMPLE_MS, rel=0.03)
    assert step.time_ms > 4 * step.eighths_ms  # and without eighths it does not


def step(method: str, time_ms: float, eighths_ms: float, energy_mj: float) -> Step:
    return Step(shape_named("llama", ""), method, 16_000, 0.1, time_ms, eighths_ms, energy_mj)


def test_reductions_are_of_the_same_model_and_length() -> None:
    steps = [step("full", 5.0, 2.0, 100.0), step("starc", 4.0, 1.0, 60.0)]
    by_claim = {(one.claim.quantity, one.claim.versus): one for one in findings(steps)}
    time, energy = by_claim["time", "full"], by_claim["energy", "full"]
    assert time.computed is not None
    assert time.eighths is not None
    assert energy.computed is not None
    assert (time.computed.low_ratio, time.eighths.low_ratio) == pytest.approx((0.2, 0.5))
    assert energy.computed == energy.eighths
    assert energy.computed.high_ratio == pytest.approx(0.4)
    assert by_claim["time", "sparq"].computed is None  # no table of SparQ, nothing is judged


def test_the_tables_show_every_claim_and_every_step() -> None:
    steps = [step("full", 5.0, 2.0, 100.0), step("starc", 4.0, 1.0, 60.0)]
    claims = end_to_end_claims_table(findings(steps))
    assert [row[2].text for row in claims.rows] == ["25-48 %", "34-56 %", "13-21 %", "11-18 %"]
    assert len(claims.rows) == len(CLAIMS)
    assert claims.rows[0][3].text == "20.0-20.0 %"
    assert len(end_to_end_table(steps).rows) == 2
