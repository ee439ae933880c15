"""Open results folders lazily, and say plainly what is wrong with one that cannot be used."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimreplay.results import SCHEMA_VERSION
from tracegen.errors import UserError

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


@dataclass(frozen=True, slots=True)
class Run:
    """One results folder: its configuration in memory, its tables as lazy scans."""

    path: Path
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
    """Open one or several results folders.

    Raises:
        UserError: a folder is missing, empty, corrupt, unfinished or of a newer schema.
    """
    if not paths:
        raise UserError(
            "no results folder was given; name at least one (see `pimreplay run --out`)"
        )
    folders = [Path(path) for path in paths]
    return tuple(
        open_run(folder, name) for folder, name in zip(folders, _unique_names(folders), strict=True)
    )


def open_run(folder: Path, name: str | None = None) -> Run:
    """Open one results folder; every table's header is read, no rows are.

    Raises:
        UserError: as `open_runs`.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise UserError(
            f"{folder}: {found} is there, not a results folder; make one with `pimreplay run`"
        )
    config = _read_config(folder)
    steps, rows = _scan(folder / "steps.parquet", REQUIRED)
    if rows == 0:
        raise UserError(
            f"{folder / 'steps.parquet'}: holds no rows, nothing was replayed; replay again"
        )
    return Run(
        path=folder,
        name=name or folder.resolve().name,
        config=config,
        steps=steps,
        layers=_scan_optional(folder / "layers.parquet", (*CONFIGURATION, "layer", "step")),
        channels=_scan_optional(folder / "channels.parquet", (*CONFIGURATION, "layer", "channel")),
        points=_scan_optional(folder / "points.parquet", ("point", "status", "error")),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        inside = "the folder is empty" if not any(folder.iterdir()) else "it holds no run.json"
        raise UserError(
            f"{folder}: not a results folder, {inside}; make one with `pimreplay run ... --out DIR`"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); replay again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds no configuration object; replay again")
    version = config.get("schema_version")
    if not isinstance(version, int):
        raise UserError(f"{path}: schema_version is {version!r}, not a whole number; replay again")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path}: results schema {version} is newer than this version reads"
            f" (up to {SCHEMA_VERSION}); upgrade pimreplay, or replay with this version"
        )
    return config


def _scan_optional(path: Path, required: Sequence[str]) -> "pl.LazyFrame | None":
    return _scan(path, required)[0] if path.exists() else None


def _scan(path: Path, required: Sequence[str]) -> "tuple[pl.LazyFrame, int]":
    import polars as pl

    if not path.is_file():
        raise UserError(f"{path}: missing, the results are incomplete; replay again")
    try:
        scan = pl.scan_parquet(path)
        columns = scan.collect_schema().names()
        rows = scan.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not readable as Parquet ({reason}); replay again") from error
    missing = [column for column in required if column not in columns]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; replay again with this version")
    return scan, rows


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """Return each folder's own name, with as much of its path as tells it from the others."""
    resolved = [folder.resolve() for folder in folders]
    repeated = sorted({str(one) for one in resolved if resolved.count(one) > 1})
    if repeated:
        raise UserError(f"{repeated[0]}: given twice; name each results folder once")
    depth = 1
    while True:
        names = ["/".join(one.parts[-depth:]) for one in resolved]
        if len(set(names)) == len(names):
            return names
        depth += 1
