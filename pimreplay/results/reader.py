"""Open results folders, and say plainly what is wrong with one that cannot be used.

The one reader: `analysis report`, `compare` and `dashboard` and every script go through it. Files
are compared with their seals and the tables checked for completeness before anything is computed
from them; the tables themselves are lazy, so nothing is held in memory that nobody asks for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs
from pyarrow.dataset import dataset

from pimreplay.results import completeness, shape
from pimreplay.results.publishing import NEXT
from pimreplay.results.schema import REQUIRED_TABLES, SCHEMA_VERSION, SCHEMAS, SINCE_3
from pimreplay.results.seal import is_whole, stream_sha256, unsealed
from tracegen.base.documents import MAX_BYTES, parse_json
from tracegen.base.errors import UserError
from tracegen.base.location import file_system

if TYPE_CHECKING:
    import polars as pl

UNSEALED = (
    "made by an older version, without checksums; damage to its tables can go unnoticed, replay "
    "to be sure"
)
ATTENTION_ONLY = (
    "made by an older version, which added overheads to no latency; latency is of attention alone, "
    "replay for all of it"
)


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
    """`steps`, `layers`, `channels` and `points`, checked; see `pimreplay.results.schema`."""
    warnings: tuple[str, ...] = ()
    """What a reader should know before trusting the numbers, one sentence each."""
    seals: Mapping[str, Any] | None = None
    """Rows and SHA-256 of each table; None: made by a version that did not seal them."""

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> "Results":
        """Open a results folder by path or URL.

        Raises:
            UserError: it is missing, empty, unfinished, altered, incomplete, or of a newer schema.
        """
        folder = _Folder(str(path), *file_system(path))
        config = folder.config()
        version = config["schema_version"]
        seals = config.get("tables") if version >= 2 else None
        lacks = SINCE_3 if version < 3 else ()
        tables = {name: folder.scan(name, seals, lacks) for name in REQUIRED_TABLES}
        old = {UNSEALED: not seals, ATTENTION_ONLY: bool(lacks)}
        with reading(folder.path):
            for problem in completeness.problems(config, tables):
                raise UserError(f"{folder.path}/{problem}; replay again")
        return cls(
            path=folder.path,
            name=name or folder.inside.rstrip("/").rsplit("/", 1)[-1],
            config=unsealed(config),
            tables=tables,
            warnings=tuple(f"{folder.path}: {text}" for text, found in old.items() if found),
            seals=seals,
        )

    def table(self, name: str) -> "pl.DataFrame":
        """Read one table whole, `selections` and `tokens` among them.

        Raises:
            UserError: it is not there, or damaged.
        """
        with reading(f"{self.path}/{name}.parquet"):
            if name in self.tables:
                return self.tables[name].collect()
            folder = _Folder(self.path, *file_system(self.path))
            return folder.scan(name, self.seals).collect()


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
    names = unique_names(folders)
    return tuple(Results.open(one, name) for one, name in zip(folders, names, strict=True))


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Say what is damaged when a table's pages cannot be read behind an intact footer."""
    import polars as pl

    try:
        yield
    # a bad page can end in a panic of polars, which derives from BaseException alone
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException) as error:
        raise UserError(
            f"{where}: damaged, it cannot be read ({_first_line(error)}); replay again"
        ) from None


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
                config = parse_json(file.read(MAX_BYTES + 1), f"{self.path}/run.json")
        except FileNotFoundError as error:
            selector = fs.FileSelector(self.inside, allow_not_found=True)
            empty = not self.system.get_file_info(selector)
            found = "the folder is empty" if empty else "it holds no run.json"
            raise UserError(
                f"{self.path}: not a finished results folder, {found}; make one with "
                "`pimreplay run TRACE --out DIR`"
            ) from error
        version = config.get("schema_version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise UserError(
                f"{self.path}/run.json: schema_version is {version!r}, not a whole number; "
                "replay again"
            )
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.path}/run.json: results schema {version} is newer than this version reads"
                f" (up to {SCHEMA_VERSION}); upgrade pimreplay, or replay with this version"
            )
        if (version >= 2 or "sha256" in config) and not is_whole(config):
            raise UserError(
                f"{self.path}/run.json: the file was altered (its checksum is not its own); "
                "restore it or replay again"
            )
        for problem in shape.problems(config):
            raise UserError(f"{self.path}/run.json: {problem}; replay again with this version")
        return config

    def _refuse_no_folder(self) -> None:
        kind = self.system.get_file_info(self.inside).type
        if kind == fs.FileType.Directory or "://" in self.path:
            return
        found = "nothing" if kind == fs.FileType.NotFound else "a file"
        raise UserError(
            f"{self.path}: {found} is there, not a results folder; make one with `pimreplay run`"
        )

    def scan(
        self, table: str, seals: Mapping[str, Any] | None, lacks: Sequence[str] = ()
    ) -> "pl.LazyFrame":
        """Return a lazy scan of a table, once its seal and its columns are as they should be.

        `lacks` are columns that the folder's version did not have yet: unknown is null.
        """
        where = f"{self.path}/{table}.parquet"
        path = self._file(table, seals)
        with reading(where):
            scan = self._lazy(path)
            found = scan.collect_schema()
        expected = _columns(table)
        missing = [name for name in expected if name not in found]
        unknown = [name for name in missing if name in lacks]
        if seals is None:  # a version before seals measured less still
            unknown = [name for name in missing if name not in completeness.IDENTIFIERS]
        missing = [name for name in missing if name not in unknown]
        scan = scan.with_columns(_null(name, expected[name]) for name in unknown)
        if missing:
            raise UserError(
                f"{where}: no column {', '.join(missing)}; replay again with this version"
            )
        wrong = [name for name, kind in expected.items() if found.get(name, kind) != kind]
        if wrong:
            raise UserError(
                f"{where}: column {wrong[0]} holds {found[wrong[0]]}, not {expected[wrong[0]]}; "
                "replay again"
            )
        return scan.select(list(expected))

    def _file(self, table: str, seals: Mapping[str, Any] | None) -> str:
        """Return the path of a table's file; of two in a switch, the one that the seal means."""
        path = f"{self.inside}/{table}.parquet"
        if seals is None:
            if self.system.get_file_info(path).type == fs.FileType.NotFound:
                raise _no_table(self.path, table)
            return path
        if table not in seals:
            raise _no_table(self.path, table)
        there = False
        for one in (path, path + NEXT):
            with suppress(FileNotFoundError), self.system.open_input_stream(one) as stream:
                there = True
                if stream_sha256(stream) == seals[table]["sha256"]:
                    return one
        if not there:
            raise _no_table(self.path, table)
        raise UserError(
            f"{self.path}/{table}.parquet: the file was altered (its checksum is not that of "
            "run.json); restore it or replay again"
        )

    def _lazy(self, path: str) -> "pl.LazyFrame":
        import polars as pl

        if isinstance(self.system, fs.LocalFileSystem):
            return pl.scan_parquet(path, glob=False)
        return pl.scan_pyarrow_dataset(dataset(path, filesystem=self.system, format="parquet"))


def _columns(table: str) -> "pl.Schema":
    import polars as pl

    return pl.DataFrame(SCHEMAS[table].empty_table()).schema


def _null(name: str, kind: "pl.DataType") -> "pl.Expr":
    import polars as pl

    return pl.lit(None, dtype=kind).alias(name)


def _no_table(folder: str, table: str) -> UserError:
    if table == "selections":
        return UserError(
            f"{folder}: the run did not keep its selections; replay again with --selections"
        )
    return UserError(f"{folder}/{table}.parquet: missing, the results are incomplete; replay again")


def unique_names(folders: Sequence[str]) -> list[str]:
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
