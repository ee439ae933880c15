"""Read a sweep file: a grid of traces x policies x layouts x budgets x devices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from pimreplay import mappings
from pimreplay.replay.method import method
from pimreplay.replay.settings import Settings
from pimreplay.selection.budget import Budget
from pimreplay.selection.budget_schedule import BudgetSchedule, parse_budget
from pimreplay.study.capacity import memory_bytes
from pimreplay.study.plan import (
    Point,
    TraceSource,
    refuse_double,
    refuse_overfull,
    refuse_uncovered,
)
from pimreplay.study.trace_sources import trace_sources
from tracegen.base.documents import read_toml
from tracegen.base.errors import UserError, nearest
from tracegen.base.numbers import chosen

LISTS = ("traces", "policies", "budgets", "hardware")
"""Keys that a sweep file must have; the grid is their product."""
SETTINGS = (
    "dense_layers",
    "fidelity",
    "kv_bits",
    "kv_quantisation",
    "stacks",
    "seed",
    "device",
)
"""Keys that set the setting of their name."""
OPTIONS = ("layouts", "layers", *SETTINGS, "memory_gb")


@dataclass(frozen=True, slots=True)
class Study:
    """A sweep file, resolved."""

    points: tuple[Point, ...]
    settings: Settings
    refused: dict[int, str]
    """Points that cannot be done, by number: their budget is beyond their trace's context."""


def read_study(path: Path) -> Study:
    """Read SWEEP.toml; every name in it is resolved before any work.

    Raises:
        UserError: no such file, no TOML, an unknown or missing key, an empty grid, two points
            with one name, an unknown name anywhere, a budget that fits no trace.
    """
    values = _read(path)
    settings = _settings(path, values)
    lists = (*LISTS, "layouts", "layers")
    texts = {key: _texts(path, key, values) for key in lists if key in values}
    layouts: Sequence[str | None] = texts.get("layouts", [None])
    with _naming(path):
        places = [_location(path, text) for text in texts["traces"]]
        traces = [source for place in places for source in trace_sources(place)]
        budgets = [parse_budget(_beside(path, text)) for text in texts["budgets"]]
        hardware = [mappings.load(_beside(path, text)) for text in texts["hardware"]]
        methods = [
            method(policy, layout)
            for policy in texts["policies"]
            for layout in ([None] if "@" in policy else layouts)
        ]
        if "layers" in texts:
            layers = [chosen(texts["layers"], one.layers, "layers") for one in traces]
            settings = replace(settings, layers=layers[0])
        points = tuple(Point(*parts) for parts in product(traces, methods, budgets, hardware))
        refuse_double(points)
        return Study(points, settings, _refused(points, traces, budgets, settings))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the sweep file's name before what is found wrong with its entries."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    values = read_toml(path)
    known = (*LISTS, *OPTIONS)
    problems = [
        f"key {key!r} is unknown; {nearest(key, known)}" for key in values if key not in known
    ]
    problems += [f"key {key!r} is missing; give a list" for key in LISTS if key not in values]
    problems += [
        f"{key} is empty, so the grid has no point; give at least one entry"
        for key in (*LISTS, "layouts", "layers")
        if values.get(key) == []
    ]
    if problems:
        raise UserError(f"{path}: " + "; ".join(problems))
    return values


def _texts(path: Path, key: str, values: dict[str, Any]) -> list[str]:
    found = values[key]
    allowed = (str, int, float)
    if not isinstance(found, list) or any(
        isinstance(one, bool) or not isinstance(one, allowed) for one in found
    ):
        raise UserError(f"{path}: {key} = {found!r} is not a list of names or numbers; write one")
    return [str(one) for one in found]


def _settings(path: Path, values: dict[str, Any]) -> Settings:
    with _naming(path):
        return Settings(
            **{key: values[key] for key in SETTINGS if key in values},
            memory_bytes=memory_bytes(values.get("memory_gb"), "memory_gb"),
        )


def _location(path: Path, text: str) -> str:
    """A trace's path is meant from the sweep file's folder, else from where the user stands."""
    beside = path.parent / text
    return str(beside) if "://" not in text and beside.exists() else text


def _beside(path: Path, text: str) -> str:
    """A device's or a schedule's file is looked for in the sweep file's folder first."""
    beside = path.parent / text
    return str(beside) if text.endswith(".toml") and beside.exists() else text


def _refused(
    points: Sequence[Point],
    traces: Sequence[TraceSource],
    budgets: Sequence[Budget | BudgetSchedule],
    settings: Settings,
) -> dict[int, str]:
    longest = max(trace.manifest.tokens for trace in traces)
    for budget in budgets:
        budget.check(longest)
    refused = {}
    for number, point in enumerate(points):
        try:
            point.budget.check(point.trace.manifest.tokens)
            refuse_uncovered(point, settings)
            refuse_overfull(point, settings)
        except UserError as error:
            refused[number] = str(error)
    return refused
