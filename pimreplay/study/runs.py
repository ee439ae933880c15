"""What `run` and `sweep` do: plan, work, write, and say in lines what is going on."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from pimreplay import mappings
from pimreplay.replay.kv_head import HeadFailure
from pimreplay.replay.method import method
from pimreplay.replay.settings import Settings
from pimreplay.results.writer import ResultsWriter, refuse_existing_results
from pimreplay.selection.budget_schedule import parse_budget
from pimreplay.study.cache import MemoryParts, PartCache, Parts
from pimreplay.study.capacity import local_crew
from pimreplay.study.dispatch import work
from pimreplay.study.headline import headline
from pimreplay.study.jobs import make_jobs, units_of
from pimreplay.study.parts import finish
from pimreplay.study.plan import Point, refuse_double, refuse_overfull, refuse_uncovered
from pimreplay.study.progress import Progress, duration
from pimreplay.study.ray_workers import RayCrew
from pimreplay.study.sweep_file import read_study
from pimreplay.study.tables import keep_selections, write_results
from pimreplay.study.trace_sources import trace_sources
from pimreplay.study.workers import Crew
from tracegen.base.device import torch_device
from tracegen.base.errors import FailedRun, UserError
from tracegen.base.numbers import chosen


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The options of `pimreplay run`, as the user gave them."""

    trace: str
    policies: tuple[str, ...]
    budget: str
    layout: str | None = None
    hardware: str = "attacc_hbm3_bank"
    layers: tuple[str, ...] | None = None
    workers: int | None = None
    ray: str | None = None
    settings: Settings = field(default_factory=Settings)
    """All but the layers, which `layers` names."""


def run_once(request: RunRequest, out: str) -> Iterator[str]:
    """Replay one trace under several policies and write `out`; yields what to tell the user.

    Raises:
        UserError: bad input, found before any work where that is possible; nothing is written.
        FailedRun: the work itself failed; nothing is written.
    """
    refuse_existing_results(out)
    points, settings = plan_run(request)
    yield from replay_points(points, settings, out, request.workers, request.ray)


def replay_points(
    points: Sequence[Point],
    settings: Settings,
    out: str,
    workers: int | None,
    ray: str | None = None,
) -> Iterator[str]:
    """Replay points and write `out`; yields what to tell the user.

    Raises:
        UserError: a point refuses what it is given; nothing is written.
        FailedRun: the work itself failed; nothing is written.
    """
    yield from headline(points, settings)
    parts = MemoryParts()
    failures = yield from _work(points, settings, parts, workers, ray, {}, stop_at_failure=True)
    if failures:
        number, first = next(iter(failures.items()))
        kind = UserError if first.bad_input else FailedRun
        raise kind(f"{points[number].name}: {first.sentence}")
    with ResultsWriter(out) as writer:
        write_results(writer, points, settings, parts, {}, {"kind": "run"})
    yield f"wrote {out}"


def plan_run(request: RunRequest) -> tuple[list[Point], Settings]:
    """Resolve every name of a request.

    Raises:
        UserError: an unknown name, a budget or a layer that the trace does not have.
    """
    settings = request.settings
    budget = parse_budget(request.budget)
    hardware = mappings.load(request.hardware)
    methods = [method(text, request.layout) for text in request.policies]
    sources = trace_sources(request.trace)
    if request.layers:
        layers = chosen(request.layers, sources[0].layers, "--layer")
        settings = replace(settings, layers=layers)
    points = [Point(source, one, budget, hardware) for source in sources for one in methods]
    return checked(points, settings)


def checked(points: list[Point], settings: Settings) -> tuple[list[Point], Settings]:
    """Return the points and settings with the device resolved, if they can be replayed.

    Raises:
        UserError: a point twice, a budget beyond its trace, a device that cannot hold it.
    """
    settings = replace(settings, device=str(torch_device(settings.device)))
    refuse_double(points)
    for point in points:
        point.budget.check(point.trace.manifest.tokens)
        refuse_uncovered(point, settings)
        refuse_overfull(point, settings)
    return points, settings


def run_sweep(file: Path, out: str, workers: int | None, ray: str | None) -> Iterator[str]:
    """Do what is missing of a study and write its tables; yields what to tell the user.

    Raises:
        UserError: bad input; finished parts stay in the cache.
        FailedRun: some points failed; the tables hold the others and name these.
    """
    study = read_study(file)
    points = study.points
    settings = replace(study.settings, device=str(torch_device(study.settings.device)))
    cache = PartCache(out, points, settings)
    with cache.lock():
        yield from headline(points, settings)
        numbered = enumerate(points)
        units = (unit for number, one in numbered for unit in units_of(number, one, settings))
        if damaged := cache.drop_damaged(units):
            yield f"note: {damaged} cached parts were damaged and are computed again"
        failures = yield from _work(points, settings, cache, workers, ray, study.refused)
        texts = {number: one.sentence for number, one in failures.items()}
        texts = dict(sorted({**texts, **study.refused}.items()))
        with ResultsWriter(out, replace=True) as writer:
            write_results(writer, points, settings, cache, texts, {"kind": "sweep"})
    yield f"wrote {out}: {len(points) - len(texts)} of {len(points)} points"
    if texts:
        number, text = next(iter(texts.items()))
        raise FailedRun(
            f"{len(texts)} of {len(points)} points failed, the first is {points[number].name}: "
            f"{text}; all are in {out}/points.parquet, the finished ones are kept"
        )


def _work(
    points: Sequence[Point],
    settings: Settings,
    parts: Parts,
    workers: int | None,
    ray: str | None,
    refused: Mapping[int, str],
    *,
    stop_at_failure: bool = False,
) -> Generator[str, None, dict[int, HeadFailure]]:
    wanted = [
        unit
        for number, point in enumerate(points)
        if number not in refused
        for unit in units_of(number, point, settings)
    ]
    done = sum(parts.has(unit) for unit in wanted)
    keep = keep_selections(points, settings)
    jobs = make_jobs(points, settings, lambda u: u[0] in refused or parts.has(u), keep)
    if done:
        yield f"resuming: {done} of {len(wanted)} parts are there already"
    if not jobs:
        return {}
    start_s = time.monotonic()
    crew: Crew
    crew = RayCrew(ray, workers, finish) if ray else local_crew(points, settings, workers)
    with closing(crew), Progress(len(wanted), done) as progress:
        failures = work(jobs, crew, parts, progress, stop_at_failure)
    if failures and stop_at_failure:
        return failures
    took = duration(time.monotonic() - start_s)
    plural = "" if crew.workers == 1 else "s"
    yield f"replayed {len(wanted) - done} parts with {crew.workers} worker{plural} in {took}"
    return failures
