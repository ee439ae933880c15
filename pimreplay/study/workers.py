"""Worker processes on this machine that may die.

A crew has numbered workers; each does one job at a time and answers with what came of it. A
worker that dies is reported and replaced. Workers ignore Ctrl-C: their parent decides.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
IMPORTED_ONCE = "pimreplay.study.worker_start"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Died:
    """A worker ended before it answered."""

    reason: str


class Crew(Protocol):
    """What the scheduler of `pimreplay.study.jobs` needs of workers, wherever they are."""

    workers: int

    def send(self, worker: int, job: Any) -> None:
        """Give an idle worker a job."""
        ...

    def answers(self, timeout_s: float) -> list[tuple[int, Any]]:
        """Wait for at least one (worker, answer or `Died`), at most so long."""
        ...

    def close(self) -> None:
        """End every worker, working or not."""
        ...


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):  # the parent is gone or closed the pipe
            return
        answer = work(job)
        try:
            pipe.send(answer)
        except OSError:
            return


def one_thread() -> None:
    """Workers are as many as cores; and sums do not change with the number of threads."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)


def start_importing() -> None:
    """Start the process that workers are forked from; it imports what they need once for all.

    Called before this process imports the same heavy libraries, so that both do it at once. The
    process ignores Ctrl-C from its first moment, and ends with this one.
    """
    if METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    multiprocessing.get_context(METHOD).set_forkserver_preload([IMPORTED_ONCE])
    if threading.current_thread() is not threading.main_thread():
        forkserver.ensure_running()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


class LocalCrew:
    """Processes on this machine, each with a pipe of its own."""

    def __init__(self, workers: int, work: Callable[[Any], Any]) -> None:
        """Start `workers` processes; `work(job)` returns the answer and never raises."""
        self.workers = workers
        self._work = work
        start_importing()
        self._context = multiprocessing.get_context(METHOD)
        self._crew = [self._start() for _ in range(workers)]

    def _start(self) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, self._work), daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def send(self, worker: int, job: Any) -> None:
        """Give an idle worker a job."""
        process, pipe = self._crew[worker]
        if pipe.closed or not process.is_alive():
            self._crew[worker] = process, pipe = self._start()
        pipe.send(job)

    def answers(self, timeout_s: float) -> list[tuple[int, Any]]:
        """Wait for answers; a process that ended, for whatever reason, is an answer."""
        pipes = {pipe: index for index, (_, pipe) in enumerate(self._crew) if not pipe.closed}
        ready = wait(list(pipes), timeout=timeout_s)
        found: list[tuple[int, Any]] = []
        for pipe in ready:
            assert isinstance(pipe, Connection)
            index = pipes[pipe]
            try:
                found.append((index, pipe.recv()))
            except (EOFError, OSError):
                found.append((index, Died(self._burial(index))))
        return found

    def _burial(self, index: int) -> str:
        process, pipe = self._crew[index]
        process.join(timeout=5)
        code = process.exitcode
        pipe.close()  # the next job starts another
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; perhaps out of memory, try fewer --workers" if name == "SIGKILL" else ""
            return f"a worker process was ended by {name}{hint}"
        return f"a worker process ended with exit code {code}"

    def close(self) -> None:
        """End every worker, working or not."""
        for process, pipe in self._crew:
            pipe.close()
            process.terminate()
        for process, _ in self._crew:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()


class InlineCrew:
    """No process at all: one job at a time, here."""

    workers = 1

    def __init__(self, work: Callable[[Any], Any]) -> None:
        """Do jobs by `work(job)`."""
        self._work = work
        self._job: list[Any] = []

    def send(self, worker: int, job: Any) -> None:
        """Keep the job until somebody waits for its answer."""
        self._job.append(job)

    def answers(self, timeout_s: float) -> list[tuple[int, Any]]:
        """Do the job."""
        return [(0, self._work(self._job.pop()))]

    def close(self) -> None:
        """Nothing to end."""
