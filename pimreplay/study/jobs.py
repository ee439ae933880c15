"""Drive a replay: points become jobs, workers do them, their parts become result tables.

`pimreplay run` and `pimreplay sweep`, on one machine and on a Ray cluster, all go through here.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pimreplay.replay.kv_head import HeadFailure, HeadResult, Job, Target
from pimreplay.results.rows import write_point
from pimreplay.results.schema import SCHEMAS, ResultsWriter
from pimreplay.selection.budget import Budget
from pimreplay.study.parts import Part, Unit, decode, finish
from pimreplay.study.plan import Point, Settings, describe, versions
from pimreplay.study.workers import Crew, Died, InlineCrew, LocalCrew, one_thread
from tracegen.base.errors import UserError
from tracegen.trace.schema import TOKENS
from tracegen.trace.store import Trace

WORKER_BYTES = 600 << 20
"""Memory of a worker before it reads a head: interpreter, torch, compiled kernels, two tiles."""
BYTES_A_CORE = 1250 << 20
KEPT_SELECTIONS_BYTES = 64 << 20
TOKEN_COLUMNS = [name for name in SCHEMAS["tokens"].names if name != "trace"]


class Parts(Protocol):
    """Where finished parts are kept until the tables are written."""

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        ...

    def put(self, part: Part) -> None:
        """Keep a part."""
        ...

    def get(self, unit: Unit) -> HeadResult:
        """Return a part."""
        ...


class MemoryParts:
    """Parts of a run, in memory: gone when it stops."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: dict[Unit, Part] = {}

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        return unit in self._parts

    def put(self, part: Part) -> None:
        """Keep a part."""
        self._parts[part.unit] = part

    def get(self, unit: Unit) -> HeadResult:
        """Return a part."""
        return decode(self._parts[unit])


def layers_of(point: Point, settings: Settings) -> tuple[int, ...]:
    """Return the layers that a point covers."""
    return settings.layers if settings.layers is not None else point.trace.layers


def units_of(number: int, point: Point, settings: Settings) -> Iterator[Unit]:
    """Yield every part that a point needs."""
    for layer in layers_of(point, settings):
        for kv_head in range(point.trace.kv_heads):
            yield number, layer, kv_head


def make_jobs(
    points: Sequence[Point], settings: Settings, has: Callable[[Unit], bool], keep: bool = False
) -> list[Job]:
    """Return the jobs that the missing parts need; a selection is shared by all its devices."""
    grouped: dict[tuple[Any, ...], dict[str, list[Target]]] = {}
    about: dict[tuple[Any, ...], Point] = {}
    budgets: dict[str, Budget] = {}
    for number, point in enumerate(points):
        budgets[point.budget_text] = point.budget
        method = point.method
        target = Target(number, method.layout, method.placer, point.hardware)
        for unit in units_of(number, point, settings):
            if has(unit):
                continue
            key = (point.trace.path, *unit[1:], method.policy, method.parameters)
            about[key] = point
            grouped.setdefault(key, {}).setdefault(point.budget_text, []).append(target)
    # all jobs of a head stand together, so that a worker reads it once; dense layers, which are
    # quickly done, come last, so that workers end together
    dense = settings.dense_layers
    ordered = sorted(grouped.items(), key=lambda item: (item[0][1] < dense, item[0][:3]))
    return [
        Job(
            trace_path=key[0],
            trace_hash=about[key].trace.hash,
            layer=key[1],
            kv_head=key[2],
            selector=about[key].method.selector,
            budgets=tuple((budgets[text], tuple(targets)) for text, targets in wanted.items()),
            settings=settings,
            keep_selections=keep,
        )
        for key, wanted in ordered
    ]


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
    """Queue a job's budgets once more, one by one, so that only the guilty one fails."""
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


def local_crew(points: Sequence[Point], settings: Settings, workers: int | None) -> Crew:
    """Return workers on this machine: as many as cores, as memory allows, or as asked for.

    0 does everything in this process.

    Raises:
        UserError: not even one worker fits into the memory allowed.
    """
    if workers == 0:
        one_thread()
        return InlineCrew(finish)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = workers or cores or 1
    budgets = len({point.budget for point in points})
    need = max(head_bytes(point, budgets) for point in points) + WORKER_BYTES
    allowed = settings.memory_bytes or wanted * BYTES_A_CORE
    fitting = allowed // need
    if fitting < 1 and settings.memory_bytes is not None:
        raise UserError(
            f"--memory-gb {settings.memory_bytes / 1e9:g}: one KV head of this trace needs about "
            f"{need / 1e9:.1f} GB; allow that much"
        )
    units = len({(p.trace.path, layer) for p in points for layer in layers_of(p, settings)})
    jobs = units * points[0].trace.kv_heads * len({p.method.selector for p in points})
    return LocalCrew(max(1, min(wanted, fitting, jobs)), finish)


def head_bytes(point: Point, budgets: int) -> int:
    """Estimate what a worker holds of one KV head: float32 vectors, and masks of all steps."""
    manifest = point.trace.manifest
    vectors = 2 * manifest.tokens * manifest.head_dim * (4 + 4)
    masks = manifest.group * manifest.decode_steps * manifest.tokens * (3 + budgets)
    return vectors + masks


def keep_selections(points: Sequence[Point], settings: Settings) -> bool:
    """Decide whether the results hold the selections: when asked to, or when they are small."""
    if settings.selections is not None:
        return settings.selections
    total = 0
    for point in points:
        manifest = point.trace.manifest
        rows = manifest.q_heads * manifest.decode_steps * len(layers_of(point, settings))
        total += rows * (manifest.tokens // 8 + manifest.tokens // 128)
    return total <= KEPT_SELECTIONS_BYTES


def write_results(
    writer: ResultsWriter,
    points: Sequence[Point],
    settings: Settings,
    parts: Parts,
    failures: Mapping[int, str],
    extra: dict[str, Any],
) -> None:
    """Write every table and `run.json`; a failed point is a row of `points` and nothing else."""
    for number, point in enumerate(points):
        error = failures.get(number)
        writer.write(
            "points",
            {
                "point": [point.name],
                **point.key(),
                "status": "ok" if error is None else "failed",
                "error": error,
            },
        )
        if error is None:
            units = units_of(number, point, settings)
            write_point(writer, point, [parts.get(unit) for unit in units])
    for trace in {point.trace.path: point.trace for point in points}.values():
        rows = Trace.open(trace.path).parquet(TOKENS).read()
        texts = {name: rows[name].combine_chunks() for name in TOKEN_COLUMNS}
        writer.write("tokens", {"trace": trace.name, **texts})
    writer.finish({**describe(points, settings), **extra})


def part_identity(point: Point, settings: Settings) -> dict[str, Any]:
    """Return all that makes a point's parts what they are; a cache names them by its hash."""
    return {
        "trace": point.trace.hash,
        "policy": point.method.policy,
        "policy_parameters": point.method.parameters,
        "layout": repr(point.method.placer),
        "layout_name": point.method.layout,
        "budget": repr(point.budget),
        "hardware": point.hardware.values,
        "hardware_name": point.hardware.name,
        "fidelity": settings.fidelity,
        "seed": settings.seed,
        "device": settings.device,
        "versions": versions(),
    }
