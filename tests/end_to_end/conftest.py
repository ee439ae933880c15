"""Fixtures of the end-to-end tests: a command typed in this process, or in one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tracegen import main

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers that lie in this folder


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def pimreplay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Return a function that runs `pimreplay ARGUMENTS` in this process, as its script does."""

    def typed(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["pimreplay", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main.pimreplay()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return typed


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts `pimreplay ARGUMENTS` as a process group of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        program = "from tracegen.main import pimreplay; pimreplay()"
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return start


@pytest.fixture
def trace_path(tiny_trace: object) -> Path:
    """Return the folder of the tiny random trace."""
    return Path(tiny_trace.where)  # type: ignore[attr-defined]
