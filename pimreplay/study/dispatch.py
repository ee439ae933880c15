"""Give jobs to workers, survive their deaths, and keep what they finish."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pimreplay.replay.kv_head import HeadFailure, Job
from pimreplay.study.cache import Parts
from pimreplay.study.parts import Part
from pimreplay.study.workers import Crew, Died


@dataclass(slots=True)
class _Queue:
    """Jobs by head; a worker goes on with the head it has read as long as it can."""

    heads: dict[tuple[str, int, int], deque[Job]] = field(default_factory=dict)
    held: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        head = (job.trace_path, job.layer, job.kv_head)
        self.heads.setdefault(head, deque()).append(job)

    def next(self, worker: int) -> Job | None:
        mine = self.held.get(worker)
        if mine not in self.heads:
            taken = set(self.held.values())
            free = (head for head in self.heads if head not in taken)
            mine = next(free, None) or max(
                self.heads, key=lambda head: len(self.heads[head]), default=None
            )
        if mine is None:
            return None
        self.held[worker] = mine
        job = self.heads[mine].popleft()
        if not self.heads[mine]:
            del self.heads[mine]
        return job


def work(
    jobs: Iterable[Job],
    crew: Crew,
    parts: Parts,
    progress: Callable[[int], None],
    stop_at_failure: bool = False,
) -> dict[int, HeadFailure]:
    """Have all jobs done; return the first failure of each point that failed, by its number.

    The jobs of a worker that dies are done once more, a budget at a time, by another; a job
    whose second worker dies too has failed. With `stop_at_failure` what follows the first failure
    is left undone.
    """
    queue = _Queue()
    for job in jobs:
        queue.add(job)
    idle = list(range(crew.workers))
    busy: dict[int, Job] = {}
    failures: list[HeadFailure] = []
    finished: list[Part | HeadFailure] = []
    while True:
        while idle and (following := queue.next(idle[-1])) is not None:
            worker = idle.pop()
            busy[worker] = following
            crew.send(worker, following)
        for one in finished:  # nobody waits for this
            if isinstance(one, HeadFailure):
                failures.append(one)
            else:
                parts.put(one)
        progress(len(finished))
        finished = []
        if not busy or (stop_at_failure and failures):
            return _first_of_each(failures)
        for worker, found in crew.answers(timeout_s=1.0):
            done = busy.pop(worker, None)
            if done is None:  # it died before it had anything to do
                continue
            idle.append(worker)
            finished += _after_death(done, found, queue) if isinstance(found, Died) else found


def _after_death(job: Job, death: Died, queue: _Queue) -> list[HeadFailure]:
    """Queue a job's budgets once more, one by one, so that only the one at fault fails."""
    if job.tries == 0:
        for budget in job.budgets:
            queue.add(replace(job, budgets=(budget,), tries=1))
        return []
    text = f"{death.reason}; tried twice"
    return [HeadFailure(point, job.layer, job.kv_head, text) for point in job.points]


def _first_of_each(failures: list[HeadFailure]) -> dict[int, HeadFailure]:
    """Return each point's first failure in the order of layers and KV heads, not of time."""
    firsts: dict[int, HeadFailure] = {}
    for one in sorted(failures, key=lambda one: (one.point, one.layer, one.kv_head)):
        firsts.setdefault(one.point, one)
    return firsts
