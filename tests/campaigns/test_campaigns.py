"""A small run of the campaign of damaged inputs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_damaged_inputs_are_refused_or_harmless() -> None:
    words = [sys.executable, "-m", "tests.campaigns.fuzz", "--cases", "110"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "110 cases, seed 0: " in done.stdout
