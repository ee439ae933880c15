"""Worker processes that may die: on this machine, or on a Ray cluster by the same code path.

A crew has numbered workers; each does one job at a time and answers with what came of it. A
worker that dies is reported and replaced. Workers ignore Ctrl-C: their parent decides.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from tracegen.base.errors import UserError

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
        except EOFError:  # the parent is gone or closed the pipe
            return
        try:
            pipe.send(work(job))
        except BrokenPipeError:
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
    process is deaf to Ctrl-C from its first moment, and ends with this one.
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


class RayCrew:
    """Actors on a Ray cluster; traces must be readable from its machines."""

    def __init__(self, address: str, workers: int | None, work: Callable[[Any], Any]) -> None:
        """Join the cluster at `address` ("local" starts one here) with one actor a core.

        Raises:
            UserError: Ray is not installed, or nobody answers at the address.
        """
        if find_spec("ray") is None:
            raise UserError(
                "--ray needs Ray, which is not installed; run `pip install 'pimreplay[ray]'`, "
                "or use --workers on this machine"
            )
        _probe(address)
        import ray

        self._ray = ray
        self._work = work
        try:
            if address == "local":
                ray.init(num_cpus=workers or os.cpu_count(), logging_level="ERROR")
            else:
                ray.init(address=address, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, (str(error).splitlines() or [""])[0]) from error
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_RayWorker)
        self._actors = [self._actor.remote(work) for _ in range(self.workers)]
        self._pending: dict[Any, int] = {}

    def send(self, worker: int, job: Any) -> None:
        """Give an idle actor a job."""
        self._pending[self._actors[worker].do.remote(job)] = worker

    def answers(self, timeout_s: float) -> list[tuple[int, Any]]:
        """Wait for answers; an actor that died is replaced."""
        ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        found: list[tuple[int, Any]] = []
        for reference in ready:
            worker = self._pending.pop(reference)
            try:
                found.append((worker, self._ray.get(reference)))
            except self._ray.exceptions.RayActorError:
                self._actors[worker] = self._actor.remote(self._work)
                found.append((worker, Died("a Ray worker died")))
        return found

    def close(self) -> None:
        """End the actors and leave the cluster."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()


def _probe(address: str) -> None:
    """Refuse an address where nothing listens at once; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        f"--ray {address}: no Ray cluster answers there ({reason}); start one with "
        "`ray start --head`, or give --ray local"
    )


class _RayWorker:
    def __init__(self, work: Callable[[Any], Any]) -> None:
        one_thread()
        self._work = work

    def do(self, job: Any) -> Any:
        return self._work(job)
