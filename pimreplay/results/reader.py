"""Open results folders, and say plainly what is wrong with one that cannot be used.

The one reader: `analysis report`, `compare` and `dashboard` and every script go through it. Tables
are lazy; nothing is held in memory that nobody asks for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs
from pyarrow.dataset import dataset

from pimreplay.results.schema import REQUIRED_TABLES, SCHEMA_VERSION, SCHEMAS
from tracegen.base.errors import UserError
from tracegen.base.location import file_system

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Results:
    """One finished results folder: its configuration in memory, its tables as lazy scans."""

    path: str
    """Folder or URL."""
    name: str
    """The folder's name, made unique when several folders of one name are open."""
    config: dict[str, Any]
    """What `run.json` holds."""
    tables: Mapping[str, "pl.LazyFrame"]
    """By name, as `pimreplay.results.schema.SCHEMAS` describes them: those that are there."""

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> "Results":
        """Open a results folder by path or URL; every table's header is read, no rows are.

        Raises:
            UserError: it is missing, empty, unfinished, damaged or of a newer schema.
        """
        folder = _Folder(str(path), *file_system(path))
        config = folder.config()
        return cls(
            path=folder.path,
            name=name or folder.inside.rstrip("/").rsplit("/", 1)[-1],
            config=config,
            tables=folder.tables(),
        )

    def table(self, name: str) -> "pl.DataFrame":
        """Read one table whole.

        Raises:
            UserError: it is not there, or damaged.
        """
        import polars as pl

        if name not in self.tables:
            raise UserError(
                f"{self.path}: holds no {name}.parquet; replay again"
                + (" with --selections" if name == "selections" else "")
            )
        try:
            return self.tables[name].collect()
        except pl.exceptions.PolarsError as error:
            raise damaged(f"{self.path}/{name}.parquet", error) from error


def open_results(paths: Sequence[Path | str]) -> tuple[Results, ...]:
    """Open one or several results folders under names that tell them apart.

    Raises:
        UserError: none was given, one was given twice, or one cannot be opened.
    """
    if not paths:
        raise UserError(
            "no results folder was given; name at least one (see `pimreplay run --out`)"
        )
    folders = [str(path) for path in paths]
    names = _unique_names(folders)
    return tuple(Results.open(one, name) for one, name in zip(folders, names, strict=True))


def damaged(where: str, error: Exception) -> UserError:
    """Return what to say of a table whose pages cannot be read behind an intact footer."""
    return UserError(f"{where}: damaged, it cannot be read ({_first_line(error)}); replay again")


@dataclass(frozen=True, slots=True)
class _Folder:
    """The files of one results folder, not yet trusted."""

    path: str
    system: fs.FileSystem
    inside: str

    def config(self) -> dict[str, Any]:
        """Return what `run.json` holds."""
        self._refuse_no_folder()
        try:
            with self.system.open_input_stream(f"{self.inside}/run.json") as file:
                config = json.loads(file.read())
        except FileNotFoundError as error:
            selector = fs.FileSelector(self.inside, allow_not_found=True)
            empty = not self.system.get_file_info(selector)
            found = "the folder is empty" if empty else "it holds no run.json"
            raise UserError(
                f"{self.path}: not a finished results folder, {found}; make one with "
                "`pimreplay run TRACE --out DIR`"
            ) from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(
                f"{self.path}/run.json: not readable as JSON ({error}); replay again"
            ) from error
        if not isinstance(config, dict):
            raise UserError(f"{self.path}/run.json: holds no configuration object; replay again")
        version = config.get("schema_version")
        if not isinstance(version, int):
            raise UserError(
                f"{self.path}/run.json: schema_version is {version!r}, not a whole number; "
                "replay again"
            )
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.path}/run.json: results schema {version} is newer than this version reads"
                f" (up to {SCHEMA_VERSION}); upgrade pimreplay, or replay with this version"
            )
        return config

    def _refuse_no_folder(self) -> None:
        kind = self.system.get_file_info(self.inside).type
        if kind == fs.FileType.Directory or "://" in self.path:
            return
        found = "nothing" if kind == fs.FileType.NotFound else "a file"
        raise UserError(
            f"{self.path}: {found} is there, not a results folder; make one with `pimreplay run`"
        )

    def tables(self) -> dict[str, "pl.LazyFrame"]:
        """Return a lazy scan of every table that is there, once its columns are as they should."""
        paths = [f"{self.inside}/{name}.parquet" for name in SCHEMAS]
        infos = dict(zip(SCHEMAS, self.system.get_file_info(paths), strict=True))
        there = [name for name, info in infos.items() if info.type != fs.FileType.NotFound]
        missing = [name for name in REQUIRED_TABLES if name not in there]
        if missing:
            raise UserError(
                f"{self.path}/{missing[0]}.parquet: missing, the results are incomplete; "
                "replay again"
            )
        return {name: self._scan(name) for name in there}

    def _scan(self, table: str) -> "pl.LazyFrame":
        import polars as pl

        where, path = f"{self.path}/{table}.parquet", f"{self.inside}/{table}.parquet"
        try:
            if isinstance(self.system, fs.LocalFileSystem):
                scan = pl.scan_parquet(path)
            else:
                scan = pl.scan_pyarrow_dataset(dataset(path, filesystem=self.system))
            found = scan.collect_schema()
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            raise UserError(
                f"{where}: not readable as Parquet ({_first_line(error)}); replay again"
            ) from error
        expected = pl.DataFrame(SCHEMAS[table].empty_table()).schema
        missing = [name for name in expected if name not in found]
        if missing:
            raise UserError(
                f"{where}: no column {', '.join(missing)}; replay again with this version"
            )
        wrong = [name for name, kind in expected.items() if found[name] != kind]
        if wrong:
            raise UserError(
                f"{where}: column {wrong[0]} holds {found[wrong[0]]}, not {expected[wrong[0]]}; "
                "replay again"
            )
        return scan.select(list(expected))


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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
