"""Write a results folder: all of it appears, or nothing."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pimreplay.results.columns import Rows, joined
from pimreplay.results.publishing import RUN, publish_into
from pimreplay.results.schema import CONFIGURATION, REQUIRED_TABLES, SCHEMA_VERSION, SCHEMAS
from pimreplay.results.seal import sealed, stream_sha256
from tracegen.base.folder import hidden_folder, publish, refuse_existing
from tracegen.base.location import file_system

ROW_GROUP_ROWS = 1 << 16
ROW_GROUP_BYTES = 128 << 20
"""Selections of long contexts fill a row group before its rows do."""


def refuse_existing_results(path: str | Path) -> None:
    """Raise `UserError` when something is at an output path, or no folder can be made there."""
    refuse_existing(path, marker="", advice="choose another --out or remove it")


class ResultsWriter:
    """Writes a results folder under a temporary name and renames it when it is complete.

    On a local disk the folder appears in one rename. An object store has none: there the
    files are copied at the end, `run.json` last, and a folder without it is not a results folder.
    Row groups are made and compressed in a thread, one at a time, while rows of the next one come.
    """

    def __init__(self, path: str | Path, *, replace: bool = False) -> None:
        """Prepare to write `path`; `replace` puts the tables into a folder that exists."""
        self._path = str(path)
        self._replace = replace
        self._system, self._inside = file_system(path)
        self._local = isinstance(self._system, fs.LocalFileSystem)
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[Rows]] = {}
        self._rows: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._cleanup = ExitStack()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        if not replace:
            refuse_existing_results(path)

    @property
    def path(self) -> str:
        """Path or URL of the folder."""
        return self._path

    def __enter__(self) -> Self:
        """Make the temporary folder."""
        if self._local:
            self._folder = self._cleanup.enter_context(hidden_folder(self._inside))
        else:
            self._folder = Path(self._cleanup.enter_context(TemporaryDirectory()))
        return self

    def write(self, table: str, columns: Mapping[str, Any]) -> None:
        """Append rows to a table; a scalar fills its column, an absent column is null."""
        unknown = set(columns) - set(SCHEMAS[table].names)
        if unknown:
            raise ValueError(f"no such columns in the results schema: {sorted(unknown)}")
        batch = Rows(columns)
        self._waiting.setdefault(table, []).append(batch)
        rows = self._rows.get(table, 0) + batch.count
        size = self._bytes.get(table, 0) + batch.size_bytes
        self._rows[table], self._bytes[table] = rows, size
        self._total[table] = self._total.get(table, 0) + batch.count
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            self._flush(table)

    def _flush(self, table: str) -> None:
        """Write what waits as one row group: few large ones are read faster than many small."""
        self._wait()
        self._rows[table] = self._bytes[table] = 0
        self._writing = self._thread.submit(self._write_group, table, self._waiting.pop(table))

    def _wait(self) -> None:
        """Let the last row group be written; what went wrong with it is raised here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write_group(self, table: str, batches: Sequence[Rows]) -> None:
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(
                self._folder / f"{table}.parquet",
                SCHEMAS[table],
                compression="zstd",
                use_dictionary=[*CONFIGURATION],
                store_schema=False,
            )
        arrays = [joined(field, batches) for field in SCHEMAS[table]]
        rows = pa.Table.from_arrays(arrays, schema=SCHEMAS[table])
        self._writers[table].write_table(rows, row_group_size=len(rows) or None)

    def finish(self, run: Mapping[str, Any]) -> None:
        """Write `run.json`, which seals the tables, and put the folder in its place."""
        for name in REQUIRED_TABLES:
            if name not in self._rows:
                self.write(name, {column: [] for column in SCHEMAS[name].names})
        for name in list(self._waiting):
            self._flush(name)
        self._close()
        config = sealed({"schema_version": SCHEMA_VERSION, **run}, self._seals())
        (self._folder / RUN).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if self._local and not self._replace:
            refuse_existing_results(self._path)
            publish(self._folder, Path(self._inside))
        else:
            publish_into(self._folder, self._system, self._inside)

    def _seals(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name, rows in self._total.items():
            with (self._folder / f"{name}.parquet").open("rb") as file:
                found[name] = {"rows": rows, "sha256": stream_sha256(file)}
        return found

    def _close(self) -> None:
        self._wait()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is left of the temporary folder."""
        with suppress(OSError, pa.ArrowException):
            self._wait()
        with suppress(OSError, pa.ArrowException):
            self._close()
        self._thread.shutdown()
        self._cleanup.close()
