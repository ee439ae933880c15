"""Points become units, the smallest parts of a result, and jobs for those that are missing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pimreplay.replay.kv_head import Job, Target
from pimreplay.replay.settings import Settings
from pimreplay.selection.budget import Budget
from pimreplay.selection.budget_schedule import BudgetSchedule
from pimreplay.study.parts import Unit
from pimreplay.study.plan import Point


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
    budgets: dict[str, Budget | BudgetSchedule] = {}
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
