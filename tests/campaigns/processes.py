"""Start commands as processes: from nothing, or with their libraries loaded already.

Loading takes seconds and the work of a small command a moment. So a server imports everything once
and forks a process for each command. Nothing is computed in the server: threads that a library
starts for that would not survive the fork.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = (
    *("torch", "transformers", "polars", "pyarrow.parquet", "pyarrow.dataset", "filelock"),
    *("transformers.models.llama.modeling_llama", "transformers.integrations.sdpa_attention"),
    *("tracegen.cli", "pimreplay.cli", "analysis.cli"),
    *("tracegen.capture.request", "tracegen.capture.run", "tracegen.capture.model"),
    *("tracegen.prompts.prompt", "tracegen.reference_model.evaluation"),
    *("pimreplay.study.runs", "pimreplay.study.sweep_file", "pimreplay.study.worker_start"),
    *("analysis.report.page", "analysis.accuracy.run"),
)


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Cold:
    """One command at a time, each from nothing."""

    def start(self, words: list[str], folder: Path, errors: Path) -> int:
        """Start a command as a process group of its own; return its id."""
        code = f"from tracegen.main import {words[0]} as main; main()"
        with errors.open("w") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *words[1:]],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,
                env=ENVIRONMENT,
            )
        return self._process.pid

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the command, at most so long; return its exit code, None while it works."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class Warm:
    """The same from a server that has loaded the libraries."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        self._ask("ready")

    def start(self, words: list[str], folder: Path, errors: Path) -> int:
        """Start a command as a process group of its own; return its id."""
        return int(self._ask("start", words, str(folder), str(errors)))

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the command, at most so long; return its exit code, None while it works."""
        code = self._ask("wait", seconds)
        return None if code is None else int(code)

    def close(self) -> None:
        """End the server."""
        self._process.communicate()

    def _ask(self, *order: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    """Do what the lines of the input say, one after the other; answer each with a line."""
    for name in MODULES:
        import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    working = 0
    answer: int | None = None
    for line in iter(sys.stdin.readline, ""):
        order, *rest = json.loads(line)
        if order == "start":
            working = answer = os.fork()
            if not working:
                return _become(*rest)
            os.setpgid(working, working)  # here and there, since either may be first
        elif working:
            answer = _wait(working, *rest)
            working = working if answer is None else 0
        print(json.dumps(answer), file=answers, flush=True)


def _wait(process: int, seconds: float | None) -> int | None:
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, 0 if deadline is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            return None
        time.sleep(0.002)


def _become(words: list[str], folder: str, errors: str) -> None:
    """Be the command: its words, its folder, its output; the process ends as the command does."""
    from tracegen import main

    os.setpgid(0, 0)
    os.chdir(folder)
    for descriptor, (path, flags) in enumerate(
        (
            (os.devnull, os.O_RDONLY),
            (os.devnull, os.O_WRONLY),
            (errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
    ):
        os.dup2(os.open(path, flags), descriptor)
    sys.argv = words
    getattr(main, words[0])()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        _serve()
