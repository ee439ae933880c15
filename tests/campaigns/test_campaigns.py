"""A small run of each campaign."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def campaign(name: str, *options: str) -> str:
    words = [sys.executable, "-m", f"tests.campaigns.{name}", *options]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_damaged_inputs_are_refused_or_harmless() -> None:
    assert "120 cases, seed 0: " in campaign("fuzz", "--cases", "120")


def test_stopped_commands_lose_nothing_and_leave_nothing() -> None:
    said = campaign("kills", "--moments", "2", "--commands", "run")
    assert said == "run      6 stops: {'right': 6}\n"
