"""A study: a grid of traces x policies x layouts x budgets x devices, cached part by part.

Every finished part (one point on one layer and KV head) lies in `cache/` of the output folder
under the hash of all that made it. A sweep that was killed, or whose file was changed, computes
what is missing; the tables are written anew from the parts, in the order of the file, so that
they are the same byte for byte however often it was interrupted.
"""

import fcntl
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import IO, Any

from pyarrow import fs

from pimreplay.hardware import reading as devices
from pimreplay.replay.kv_head import HeadResult
from pimreplay.selection.budget import Budget
from pimreplay.study.jobs import part_identity
from pimreplay.study.parts import Part, Unit, decode
from pimreplay.study.plan import (
    Point,
    Settings,
    TraceSource,
    digest,
    layer_numbers,
    method,
    refuse_double,
    trace_source,
)
from tracegen.base.errors import UserError, nearest
from tracegen.trace.store import file_system

LISTS = ("traces", "policies", "budgets", "hardware")
"""Keys that a sweep file must have; the grid is their product."""
OPTIONS = ("layouts", "layers", "dense_layers", "fidelity", "seed", "device", "memory_gb")
FIDELITIES = ("analytic", "command")


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
        traces = [trace_source(_location(path, text)) for text in texts["traces"]]
        budgets = [Budget.parse(text) for text in texts["budgets"]]
        hardware = [devices.load(_device(path, text)) for text in texts["hardware"]]
        methods = [
            method(policy, layout)
            for policy in texts["policies"]
            for layout in ([None] if "@" in policy else layouts)
        ]
        if "layers" in texts:
            chosen = [layer_numbers(texts["layers"], one.layers, "layers") for one in traces]
            settings = replace(settings, layers=chosen[0])
        points = tuple(Point(*parts) for parts in product(traces, methods, budgets, hardware))
        refuse_double(points)
        return Study(points, settings, _refused(points, traces, budgets))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the sweep file's name before what is found wrong with its entries."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give the path of a sweep file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: a folder; give the path of a sweep file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error}); correct it") from error
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
        raise UserError(f"{path}: {key} = {found!r} is no list of names or numbers; write one")
    return [str(one) for one in found]


def _settings(path: Path, values: dict[str, Any]) -> Settings:
    def number(key: str, default: int) -> int:
        value = values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f"{path}: {key} = {value!r}; give a whole number of at least 0")
        return value

    fidelity = values.get("fidelity", "analytic")
    if fidelity not in FIDELITIES:
        raise UserError(f"{path}: fidelity = {fidelity!r}; {nearest(str(fidelity), FIDELITIES)}")
    memory = values.get("memory_gb")
    if memory is not None and (not isinstance(memory, int | float) or memory <= 0):
        raise UserError(f"{path}: memory_gb = {memory!r}; give a number above 0")
    return Settings(
        dense_layers=number("dense_layers", 2),
        fidelity=fidelity,
        seed=number("seed", 0),
        device=str(values.get("device", "cpu")),
        memory_bytes=None if memory is None else int(memory * 1e9),
    )


def _location(path: Path, text: str) -> str:
    """A trace's path is meant from the sweep file's folder, else from where the user stands."""
    beside = path.parent / text
    return str(beside) if "://" not in text and beside.exists() else text


def _device(path: Path, text: str) -> str:
    beside = path.parent / text
    return str(beside) if text.endswith(".toml") and beside.exists() else text


def _refused(
    points: Sequence[Point], traces: Sequence[TraceSource], budgets: Sequence[Budget]
) -> dict[int, str]:
    longest = max(trace.manifest.tokens for trace in traces)
    for budget in budgets:
        budget.check(longest)
    refused = {}
    for number, point in enumerate(points):
        try:
            point.budget.check(point.trace.manifest.tokens)
        except UserError as error:
            refused[number] = str(error)
    return refused


class PartCache:
    """Finished parts on disk or in an object store, each a file named by its hash."""

    def __init__(self, out: str, points: Sequence[Point], settings: Settings) -> None:
        """Find out which parts are there.

        Raises:
            UserError: `out` holds something that is no sweep's.
        """
        self._points, self._settings = points, settings
        self._system, root = file_system(out)
        self._root = f"{root}/cache"
        self.local = isinstance(self._system, fs.LocalFileSystem)
        self._refuse_foreign(out, root)
        self._system.create_dir(self._root, recursive=True)
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        self._names = {
            info.base_name.removesuffix(".part")
            for info in self._system.get_file_info(selector)
            if info.base_name.endswith(".part") and info.size
        }
        self._hashes: dict[Unit, str] = {}
        self._made_by: dict[int, str] = {}

    def _refuse_foreign(self, out: str, root: str) -> None:
        kind = self._system.get_file_info(root).type
        if kind == fs.FileType.File:
            raise UserError(f"{out}: a file is there; choose another --out")
        if kind == fs.FileType.Directory:
            inside = self._system.get_file_info(fs.FileSelector(root))
            names = {info.base_name for info in inside}
            if names and "cache" not in names:
                raise UserError(
                    f"{out}: exists already and is no sweep's folder, nothing was overwritten; "
                    "choose another --out"
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second sweep out of the same local folder; the system frees it at any death."""
        if not self.local:
            yield
            return
        file: IO[str]
        with Path(self._root, "lock").open("w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{Path(self._root).parent}: another sweep is writing here; wait for it or "
                    "choose another --out"
                ) from error
            yield

    def _hash(self, unit: Unit) -> str:
        if unit not in self._hashes:
            number, layer, kv_head = unit
            if number not in self._made_by:
                self._made_by[number] = digest(part_identity(self._points[number], self._settings))
            dense_layer = layer < self._settings.dense_layers
            self._hashes[unit] = digest([self._made_by[number], layer, kv_head, dense_layer])
        return self._hashes[unit]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}.part"

    def has(self, unit: Unit) -> bool:
        """Whether a part is there already."""
        return self._hash(unit) in self._names

    def put(self, part: Part) -> None:
        """Write a part; a reader sees all of it or nothing."""
        name = self._hash(part.unit)
        path = self._path(name)
        self._system.create_dir(path.rpartition("/")[0], recursive=True)
        # an object store shows an object only when it is complete, a disk needs the rename
        target = f"{path}.partial" if self.local else path
        with self._system.open_output_stream(target) as sink:
            sink.write(part.data)
        if self.local:
            self._system.move(target, path)
        self._names.add(name)

    def get(self, unit: Unit) -> HeadResult:
        """Read a part.

        Raises:
            UserError: the file is damaged; it is forgotten, so that the next run mends it.
        """
        path = self._path(self._hash(unit))
        try:
            with self._system.open_input_file(path) as source:
                return decode(Part(unit, source.read()))
        except (ValueError, OSError) as error:
            self._system.delete_file(path)
            raise UserError(
                f"{path}: the cached part was damaged and has been removed; run the same sweep "
                "again, it computes that part anew"
            ) from error
