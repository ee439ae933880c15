"""Workers on a Ray cluster, by the same code path as processes on this machine."""

import os
import socket
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from pimreplay.study.workers import Died, one_thread
from tracegen.base.errors import UserError


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
