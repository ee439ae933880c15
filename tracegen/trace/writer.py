"""Write a trace folder, one layer at a time; it appears complete or not at all."""

import hashlib
import inspect
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tracegen.base.errors import UserError, naming
from tracegen.base.folder import new_folder, refuse_existing
from tracegen.base.location import file_system, is_url
from tracegen.trace.manifest_rules import check
from tracegen.trace.rows import first_not_finite
from tracegen.trace.schema import (
    MANIFEST,
    NUMPY_DTYPE,
    TOKENS,
    FileEntry,
    Manifest,
    columns,
    layer_path,
)
from tracegen.trace.store import Vectors

_ONE_PAGE: dict[str, Any] = {"data_page_size": 1 << 30, "write_batch_size": 1 << 20}
if "max_rows_per_page" in inspect.signature(pq.ParquetWriter).parameters:
    _ONE_PAGE["max_rows_per_page"] = 1 << 31


class TraceWriter:
    """Context manager that writes one trace.

    Give it the manifest without `files`, call `write_layer` (or `write_kv`, `write_queries` and
    `write_prompt`) for every layer and `write_tokens` once. Leaving the block publishes the trace;
    an exception inside it leaves nothing behind. A URL is written to a local folder first and
    copied at the end, its manifest last. A finished file is hashed and brought to the disk in a
    thread while the next one is written.

    Raises:
        UserError: the target exists, the manifest contradicts itself, or a layer is missing.
    """

    def __init__(self, where: str | Path, manifest: Manifest, *, overwrite: bool = False) -> None:
        self.manifest = replace(manifest, schema_version=manifest.least_version)
        problems = check(self.manifest)
        if problems:
            raise UserError(f"{where}: {'; '.join(problems)}")
        self.where = str(where)
        self._overwrite = overwrite
        self._remote = is_url(where)
        refuse_existing(where, overwrite=overwrite, marker=MANIFEST)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._remote:
                self.path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            else:
                folder = new_folder(self.where, overwrite=self._overwrite, marker=MANIFEST)
                self.path = stack.enter_context(folder)
            self._thread = ThreadPoolExecutor(max_workers=1)
            stack.callback(self._thread.shutdown, cancel_futures=True)
            self._sealing: list[Future[FileEntry]] = []
            for kind in ("kv", "queries", "prompt_queries", "prompt_attention"):
                (self.path / kind).mkdir()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def write_layer(
        self,
        layer: int,
        key: Vectors,
        value: Vectors,
        query: Vectors,
        output: Vectors | None = None,
        prompt_query: Vectors | None = None,
        prompt_attention: tuple[Vectors, Vectors] | None = None,
    ) -> None:
        """Write everything of one layer.

        Args:
            layer: the model's number of the layer.
            key: (kv_heads, tokens, head_dim) in the trace's type (uint16 bits for bfloat16).
            value: the same shape.
            query: (q_heads, steps, head_dim).
            output: the same shape, where the manifest says so.
            prompt_query: (q_heads, prompt_queries, head_dim), where the manifest says so.
            prompt_attention: plain and decayed column sums, (q_heads, prompt_tokens) float32 each.
        """
        if layer in self.manifest.kv_layers:
            self.write_kv(layer, zip(key, value, strict=True))
        self.write_queries(layer, query, output)
        self.write_prompt(layer, prompt_query, prompt_attention)

    def write_kv(self, layer: int, heads: Iterable[tuple[Vectors, Vectors]]) -> None:
        """Write keys and values of one layer, KV head after KV head, (tokens, head_dim) each."""
        manifest = self.manifest
        schema = columns("kv", manifest, layer)
        token = np.arange(manifest.tokens, dtype=np.int32)
        written = 0
        with self._parquet(layer_path("kv", layer), schema) as file:
            for kv_head, (key, value) in enumerate(heads):
                number = np.full(manifest.tokens, kv_head, dtype=np.int32)
                for name, one in (("key", key), ("value", value)):
                    self._refuse_not_finite(layer, name, one[None], "KV", kv_head, 0)
                vectors = [self._binary(layer, one, manifest.tokens) for one in (key, value)]
                _write(file, [number, token, *vectors], schema)
                written += 1
        assert written == manifest.kv_heads, f"{written} KV heads written of {manifest.kv_heads}"

    def write_queries(self, layer: int, query: Vectors, output: Vectors | None = None) -> None:
        """Write one layer's queries and outputs of the decode steps; shapes as in `write_layer`."""
        manifest = self.manifest
        assert (output is not None) == manifest.has_output
        vectors = [query] if output is None else [query, output]
        for name, one in zip(("query", "output"), vectors, strict=False):
            self._refuse_not_finite(layer, name, one, "query", 0, manifest.prompt_tokens)
        steps = np.arange(manifest.decode_steps, dtype=np.int32)
        self._write_groups("queries", layer, steps, vectors)

    def write_prompt(
        self,
        layer: int,
        prompt_query: Vectors | None = None,
        prompt_attention: tuple[Vectors, Vectors] | None = None,
    ) -> None:
        """Write what the manifest promises of one layer's prompt; shapes as in `write_layer`."""
        manifest = self.manifest
        prompt = np.arange(manifest.prompt_tokens, dtype=np.int32)
        if manifest.prompt_queries:
            assert prompt_query is not None
            tokens = prompt[-manifest.prompt_queries :]
            first = int(tokens[0])
            self._refuse_not_finite(layer, "prompt query", prompt_query, "query", 0, first)
            self._write_groups("prompt_queries", layer, tokens, [prompt_query])
        if manifest.has_prompt_attention:
            assert prompt_attention is not None
            for sums in prompt_attention:
                if sums.min() < 0:
                    raise UserError(f"{self.where}: layer {layer}: a prompt attention is negative")
                self._refuse_not_finite(layer, "prompt attention", sums, "query", 0, 0)
            self._write_groups("prompt_attention", layer, prompt, list(prompt_attention))

    def write_tokens(
        self,
        token_id: Sequence[int | None] | None = None,
        text: Sequence[str | None] | None = None,
        position: Sequence[int] | None = None,
        log_prob: Sequence[float | None] | None = None,
    ) -> None:
        """Write the tokens, prompt then decoded; what is not known is null."""
        manifest = self.manifest
        n_tokens = manifest.tokens
        unknown = [None] * n_tokens
        phase = ["prompt"] * manifest.prompt_tokens + ["decode"] * manifest.decode_steps
        schema = columns("tokens", manifest)
        data = {
            "token": np.arange(n_tokens, dtype=np.int32),
            "position": list(range(n_tokens)) if position is None else position,
            "phase": phase,
            "token_id": unknown if token_id is None else token_id,
            "text": unknown if text is None else text,
            "log_prob": unknown if log_prob is None else log_prob,
        }
        with self._parquet(TOKENS, schema) as file:
            _write(file, [data[name] for name in schema.names], schema)

    def _write_groups(
        self, kind: str, layer: int, numbers: npt.NDArray[np.int32], data: list[Vectors]
    ) -> None:
        """Write (q_heads, n, ...) arrays, one row group a KV head, its query heads in order."""
        manifest = self.manifest
        schema = columns(kind, manifest, layer)
        group = manifest.group
        rows = group * len(numbers)
        with self._parquet(layer_path(kind, layer), schema) as file:
            for first in range(0, manifest.q_heads, group):
                heads = np.arange(first, first + group, dtype=np.int32).repeat(len(numbers))
                arrays = [
                    one[first : first + group].reshape(rows)
                    if kind == "prompt_attention"
                    else self._binary(layer, one[first : first + group], rows)
                    for one in data
                ]
                _write(file, [heads, np.tile(numbers, group), *arrays], schema)

    def _refuse_not_finite(
        self, layer: int, name: str, values: Vectors, kind: str, first_head: int, first_token: int
    ) -> None:
        """Refuse values (heads, tokens, ...) that a model overflowed to infinity or NaN."""
        is_sum = name == "prompt attention"
        place = first_not_finite(values, "float32" if is_sum else self.manifest.dtype)
        if place is not None:
            raise UserError(
                f"{self.where}: layer {layer}, {kind} head {first_head + place[0]}, token "
                f"{first_token + place[1]}: {name} holds a value that is not finite; use a wider "
                "type, for example --dtype float32 or bfloat16, or correct the arrays"
            )

    def _binary(self, layer: int, vectors: Vectors, rows: int) -> pa.Array:
        """Return vectors as fixed-size binary without copying them."""
        manifest = self.manifest
        expected = np.dtype(NUMPY_DTYPE[manifest.dtype])
        assert vectors.dtype == expected, f"{vectors.dtype} given, {expected} expected"
        size = rows * manifest.head_dim_of(layer)
        assert vectors.size == size, f"{vectors.shape}: {rows} rows expected"
        data = np.ascontiguousarray(vectors.astype(expected.newbyteorder("<"), copy=False))
        return pa.Array.from_buffers(
            pa.binary(manifest.vector_bytes(layer)), rows, [None, pa.py_buffer(data)]
        )

    @contextmanager
    def _parquet(self, path: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        with (
            naming(f"{self.where}/{path}"),
            pq.ParquetWriter(
                self.path / path,
                schema,
                compression="NONE",
                use_dictionary=[n for n in schema.names if n in ("kv_head", "q_head", "phase")],
                write_statistics=False,
                store_schema=False,
                **_ONE_PAGE,
            ) as file,
        ):
            yield file
        self._sealing.append(self._thread.submit(self._seal, path))

    def _seal(self, path: str) -> FileEntry:
        """Bring a finished file to the disk and return its entry in the manifest."""
        with naming(f"{self.where}/{path}"), (self.path / path).open("rb") as stream:
            os.fsync(stream.fileno())
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return FileEntry(path, os.fstat(stream.fileno()).st_size, digest)

    def _finish(self) -> None:
        expected = set(self.manifest.paths())
        found = {str(one.relative_to(self.path).as_posix()) for one in self.path.rglob("*.parquet")}
        assert found == expected, f"files written: {sorted(found)}; expected: {sorted(expected)}"
        for folder in self.path.iterdir():
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        entries = [one.result() for one in self._sealing]  # raises what went wrong in the thread
        sealed = {entry.path: entry for entry in entries}
        files = tuple(sealed[path] for path in self.manifest.paths())
        self.manifest = replace(self.manifest, files=files)
        (self.path / MANIFEST).write_text(self.manifest.to_json(), encoding="utf-8")
        if self._remote:
            self._upload()

    def _upload(self) -> None:
        """Copy the finished folder to its URL; the manifest goes first on removal, last on copy."""
        system, root = file_system(self.where)
        if system.get_file_info(root).type != pafs.FileType.NotFound:
            system.delete_file(f"{root}/{MANIFEST}")
            system.delete_dir(root)
        local = pafs.LocalFileSystem()
        for path in [*self.manifest.paths(), MANIFEST]:
            system.create_dir(f"{root}/{path}".rpartition("/")[0], recursive=True)
            pafs.copy_files(
                str(self.path / path),
                f"{root}/{path}",
                source_filesystem=local,
                destination_filesystem=system,
            )


def _write(file: pq.ParquetWriter, data: list[Any], schema: pa.Schema) -> None:
    arrays = [pa.array(one, kind) for one, kind in zip(data, schema.types, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    file.write_table(table, row_group_size=max(1, table.num_rows))
