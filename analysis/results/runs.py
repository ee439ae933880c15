"""Open results folders lazily, and say plainly what is wrong with one that cannot be used."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs
from pyarrow.dataset import dataset

from pimreplay.results.schema import SCHEMA_VERSION
from tracegen.base.errors import UserError
from tracegen.trace.store import file_system

if TYPE_CHECKING:
    import polars as pl

CONFIGURATION = (
    "trace",
    "model",
    "trace_kind",
    "policy",
    "policy_parameters",
    "layout",
    "hardware",
    "budget",
)
"""Columns that name one configuration of a run, in every table."""

REQUIRED = (
    *CONFIGURATION,
    "dense_layer",
    "layer",
    "kv_head",
    "step",
    "visible_tokens",
    "selected_tokens",
    "blocks",
    "activations",
    "latency_ns",
    "energy_pj",
    "attention_mass_ratio",
)

_NUMBERS = REQUIRED[REQUIRED.index("layer") :]


@dataclass(frozen=True, slots=True)
class Run:
    """One results folder: its configuration in memory, its tables as lazy scans."""

    path: str
    """Folder or URL."""
    name: str
    """The folder's name, made unique when several folders of one name are open."""
    config: dict[str, Any]
    """What `run.json` holds."""
    steps: "pl.LazyFrame"
    """One row per (configuration, layer, kv_head, step)."""
    layers: "pl.LazyFrame | None"
    """One row per (configuration, layer, step); None: the folder has none."""
    channels: "pl.LazyFrame | None"
    """By configuration, layer, channel, lane, summed over steps; None: not in the folder."""
    points: "pl.LazyFrame | None" = None
    """Status and error of each point of a sweep; None: none in the folder."""


def open_runs(paths: Sequence[Path | str]) -> tuple[Run, ...]:
    """Open one or several results folders, by path or URL.

    Raises:
        UserError: a folder is missing, empty, corrupt, unfinished or of a newer schema.
    """
    if not paths:
        raise UserError(
            "no results folder was given; name at least one (see `pimreplay run --out`)"
        )
    folders = [str(path) for path in paths]
    return tuple(
        open_run(folder, name) for folder, name in zip(folders, _unique_names(folders), strict=True)
    )


def open_run(folder: Path | str, name: str | None = None) -> Run:
    """Open one results folder; every table's header is read, no rows are.

    Raises:
        UserError: as `open_runs`.
    """
    system, inside = file_system(folder)
    kind = system.get_file_info(inside).type
    if kind != fs.FileType.Directory and "://" not in str(folder):
        found = "nothing" if kind == fs.FileType.NotFound else "a file"
        raise UserError(
            f"{folder}: {found} is there, not a results folder; make one with `pimreplay run`"
        )
    config = _read_config(str(folder), system, inside)
    tables = _Tables(str(folder), system, inside)
    steps, rows = tables.scan("steps", REQUIRED)
    if rows == 0:
        raise UserError(
            f"{folder}/steps.parquet: holds no rows, nothing was replayed; replay again"
        )
    return Run(
        path=str(folder),
        name=name or inside.rstrip("/").rsplit("/", 1)[-1],
        config=config,
        steps=steps,
        layers=tables.scan_optional("layers", (*CONFIGURATION, "layer", "step")),
        channels=tables.scan_optional("channels", (*CONFIGURATION, "layer", "channel")),
        points=tables.scan_optional("points", ("point", "status", "error")),
    )


def _read_config(folder: str, system: fs.FileSystem, inside: str) -> dict[str, Any]:
    try:
        with system.open_input_stream(f"{inside}/run.json") as file:
            config = json.loads(file.read())
    except FileNotFoundError as error:
        selector = fs.FileSelector(inside, allow_not_found=True)
        empty = not system.get_file_info(selector)
        found = "the folder is empty" if empty else "it holds no run.json"
        raise UserError(
            f"{folder}: not a results folder, {found}; make one with `pimreplay run ... --out DIR`"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{folder}/run.json: not readable as JSON ({error}); replay again"
        ) from error
    if not isinstance(config, dict):
        raise UserError(f"{folder}/run.json: holds no configuration object; replay again")
    version = config.get("schema_version")
    if not isinstance(version, int):
        raise UserError(
            f"{folder}/run.json: schema_version is {version!r}, not a whole number; replay again"
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{folder}/run.json: results schema {version} is newer than this version reads"
            f" (up to {SCHEMA_VERSION}); upgrade pimreplay, or replay with this version"
        )
    return config


@dataclass(frozen=True, slots=True)
class _Tables:
    """The Parquet tables of one folder."""

    folder: str
    system: fs.FileSystem
    inside: str

    def scan_optional(self, table: str, required: Sequence[str]) -> "pl.LazyFrame | None":
        """Return a lazy scan, None when the folder has no such table."""
        info = self.system.get_file_info(f"{self.inside}/{table}.parquet")
        return None if info.type == fs.FileType.NotFound else self.scan(table, required)[0]

    def scan(self, table: str, required: Sequence[str]) -> "tuple[pl.LazyFrame, int]":
        """Return a lazy scan and its number of rows, once the columns are there."""
        import polars as pl

        where, path = f"{self.folder}/{table}.parquet", f"{self.inside}/{table}.parquet"
        if self.system.get_file_info(path).type == fs.FileType.NotFound:
            raise UserError(f"{where}: missing, the results are incomplete; replay again")
        try:
            if isinstance(self.system, fs.LocalFileSystem):
                scan = pl.scan_parquet(path)
            else:
                scan = pl.scan_pyarrow_dataset(dataset(path, filesystem=self.system))
            schema = scan.collect_schema()
            rows = scan.select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{where}: not readable as Parquet ({reason}); replay again") from error
        missing = [column for column in required if column not in schema]
        if missing:
            raise UserError(
                f"{where}: no column {', '.join(missing)}; replay again with this version"
            )
        wrong = [name for name in _NUMBERS if name in required and not schema[name].is_numeric()]
        if wrong:
            raise UserError(
                f"{where}: column {wrong[0]} holds {schema[wrong[0]]}, not numbers; replay again"
            )
        return scan, rows


def _unique_names(folders: Sequence[str]) -> list[str]:
    """Return each folder's own name, with as much of its path as tells it from the others."""
    resolved = [one.rstrip("/") if "://" in one else str(Path(one).resolve()) for one in folders]
    repeated = sorted({one for one in resolved if resolved.count(one) > 1})
    if repeated:
        raise UserError(f"{repeated[0]}: given twice; name each results folder once")
    depth = 1
    while True:
        names = ["/".join(one.split("/")[-depth:]) for one in resolved]
        if len(set(names)) == len(names):
            return names
        depth += 1
