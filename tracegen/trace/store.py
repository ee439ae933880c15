"""Read a trace folder: numpy arrays of one (layer, kv_head) at a time, from a path or a URL.

Vectors come as they lie in the file, in the model's own type; bfloat16, which numpy does not have,
comes as its 16 bits in uint16. Never imports torch.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tracegen.base.documents import MAX_BYTES
from tracegen.base.errors import UserError
from tracegen.base.location import file_system
from tracegen.trace.manifest_rules import parse_manifest
from tracegen.trace.rows import group_problem, tokens_problem, vectors_of
from tracegen.trace.schema import MANIFEST, TOKENS, Manifest, columns, layer_path

if TYPE_CHECKING:
    import polars as pl

Vectors = npt.NDArray[Any]
_CHUNK_BYTES = 1 << 20


def as_float32(vectors: Vectors) -> npt.NDArray[np.float32]:
    """Return stored vectors as float32, exactly (uint16 is taken for the bits of bfloat16)."""
    if vectors.dtype == np.uint16:
        return (vectors.astype(np.uint32) << 16).view(np.float32)
    return vectors.astype(np.float32, copy=False)


class Trace:
    """A complete trace, read one (layer, kv_head) at a time.

    When a file is first read its checksum is taken, and when a KV head's rows are first read their
    numbers and that all values are finite are checked, so that what is damaged is refused before
    anything is computed from it. Safe to pickle and to open in several processes.
    """

    def __init__(self, where: str, manifest: Manifest) -> None:
        self.where = where
        self.manifest = manifest
        self._sha256 = {one.path: one.sha256 for one in manifest.files}
        self._unchecked = set(self._sha256)
        self._sound: set[tuple[str, int]] = set()  # (path, KV head) whose rows were checked

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """Open the trace at a path or URL.

        Raises:
            UserError: no trace there, a manifest that is damaged or newer, or files that are
                missing or of another size than written.
        """
        system, root = file_system(where)
        manifest_path = f"{root}/{MANIFEST}"
        try:
            with system.open_input_stream(manifest_path) as stream:
                data = stream.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{where}: no trace here ({MANIFEST} is missing); give the folder that "
                "`tracegen capture` wrote"
            ) from error
        except OSError as error:
            raise UserError(
                f"{where}/{MANIFEST}: cannot be read ({_first_line(error)}); give the folder of a "
                "trace that you may read"
            ) from error
        trace = cls(str(where), parse_manifest(data, f"{where}/{MANIFEST}"))
        problems = trace._sizes()
        if problems:
            raise UserError(f"{'; '.join(problems)}; capture the trace again")
        return trace

    @property
    def hash(self) -> str:
        """Identity of the trace."""
        return self.manifest.hash

    def key(self, layer: int, kv_head: int) -> Vectors:
        """Return post-RoPE keys, (tokens, head_dim)."""
        return self._vectors("kv", self._kv_layer(layer), kv_head, "key")

    def value(self, layer: int, kv_head: int) -> Vectors:
        """Return values, (tokens, head_dim)."""
        return self._vectors("kv", self._kv_layer(layer), kv_head, "value")

    def query(self, layer: int, kv_head: int) -> Vectors:
        """Return post-RoPE queries of the KV head's group, (q_heads, steps, head_dim)."""
        rows = self._vectors("queries", layer, kv_head, "query")
        return rows.reshape(self.manifest.group, -1, rows.shape[-1])

    def output(self, layer: int, kv_head: int) -> Vectors | None:
        """Return the model's own attention output, (q_heads, steps, head_dim); None: not stored."""
        if not self.manifest.has_output:
            return None
        rows = self._vectors("queries", layer, kv_head, "output")
        return rows.reshape(self.manifest.group, -1, rows.shape[-1])

    def prompt_query(self, layer: int, kv_head: int) -> Vectors | None:
        """Return the last prompt queries, (q_heads, n, head_dim); None: not stored."""
        if not self.manifest.prompt_queries:
            return None
        rows = self._vectors("prompt_queries", layer, kv_head, "query")
        return rows.reshape(self.manifest.group, -1, rows.shape[-1])

    def prompt_attention(
        self, layer: int, kv_head: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """Return the column sums over all prompt queries of the attention weights.

        Two arrays (q_heads, prompt_tokens): plain, and decayed by 0.98 a prompt query. None: not
        stored.
        """
        if not self.manifest.has_prompt_attention:
            return None
        table = self._row_group(
            "prompt_attention", layer, kv_head, ["attention_sum", "attention_sum_decayed"]
        )
        plain, decayed = (
            column.to_numpy().reshape(self.manifest.group, self.manifest.prompt_tokens)
            for column in table.columns
        )
        return plain, decayed

    def tokens(self) -> "pl.DataFrame":
        """Return token, token_id, text, position, phase ("prompt", "decode") and log_prob."""
        import polars as pl  # a replay's workers read vectors only

        frame = pl.from_arrow(self.token_table())
        assert isinstance(frame, pl.DataFrame)
        return frame.select("token", "token_id", "text", "position", "phase", "log_prob")

    def check_file(self, path: str) -> None:
        """Compare a file's checksum with the manifest's.

        Raises:
            UserError: the bytes are not the ones that were written; names the file.
        """
        system, root = file_system(self.where)
        digest = hashlib.sha256()
        with system.open_input_stream(f"{root}/{path}") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != self._sha256[path]:
            raise UserError(
                f"{self.where}/{path}: the file was altered (its checksum is not the manifest's); "
                "restore it or capture the trace again"
            )
        self._unchecked.discard(path)

    def token_table(self) -> pa.Table:
        """Return the columns of `tokens.parquet` as they are stored.

        Raises:
            UserError: the file is missing, altered, or not the tokens of this trace in order.
        """
        with self._open(TOKENS) as file:
            self._check_columns(file, "tokens", TOKENS)
            table = self._reading(TOKENS, file.read)
        problem = tokens_problem(self.manifest, table)
        if problem:
            raise UserError(f"{self.where}/{TOKENS}: {problem}; capture the trace again")
        return table

    def _sizes(self) -> list[str]:
        """Return which files are missing or of another size than written."""
        system, root = file_system(self.where)
        listed = {one.path: one.size_bytes for one in self.manifest.files}
        problems = []
        infos = system.get_file_info([f"{root}/{path}" for path in listed])
        for (path, size_bytes), info in zip(listed.items(), infos, strict=True):
            if info.type != pafs.FileType.File:
                problems.append(f"{self.where}/{path}: the file is missing")
            elif info.size != size_bytes:
                problems.append(
                    f"{self.where}/{path}: truncated or altered ({info.size:,} bytes, "
                    f"{size_bytes:,} were written)"
                )
        return problems

    def _open(self, path: str) -> pq.ParquetFile:
        if path in self._unchecked:
            self.check_file(path)
        system, root = file_system(self.where)
        return self._reading(path, lambda: pq.ParquetFile(system.open_input_file(f"{root}/{path}")))

    def _kv_layer(self, layer: int) -> int:
        self._refuse_unknown(layer)
        return self.manifest.kv_layer_of(layer)

    def _refuse_unknown(self, layer: int) -> None:
        if layer not in self.manifest.layers:
            known = ", ".join(map(str, self.manifest.layers))
            raise UserError(f"{self.where}: no layer {layer} in this trace; known: {known}")

    def _row_group(self, kind: str, layer: int, kv_head: int, names: list[str]) -> pa.Table:
        manifest = self.manifest
        self._refuse_unknown(layer)
        if not 0 <= kv_head < manifest.kv_heads:
            raise UserError(
                f"{self.where}: no kv_head {kv_head} in this trace; known: 0 to "
                f"{manifest.kv_heads - 1}"
            )
        path = layer_path(kind, layer)
        with self._open(path) as file:
            self._check_columns(file, kind, path, layer)
            if file.num_row_groups != manifest.kv_heads:
                raise UserError(
                    f"{self.where}/{path}: holds {file.num_row_groups} row groups for "
                    f"{manifest.kv_heads} KV heads; capture the trace again"
                )
            if (path, kv_head) in self._sound:
                return self._reading(path, file.read_row_group, kv_head, names)
            table = self._reading(path, file.read_row_group, kv_head)
        problem = group_problem(kind, manifest, kv_head, table)
        if problem:
            raise UserError(f"{self.where}/{path}: {problem}; capture the trace again")
        self._sound.add((path, kv_head))
        return table.select(names)

    def _check_columns(
        self, file: pq.ParquetFile, kind: str, path: str, layer: int | None = None
    ) -> None:
        if file.schema_arrow.remove_metadata() != columns(kind, self.manifest, layer):
            raise UserError(
                f"{self.where}/{path}: columns are not those of trace schema "
                f"{self.manifest.schema_version}; capture the trace again"
            )

    def _reading(self, path: str, read: Callable[..., pa.Table], *arguments: Any) -> pa.Table:
        """Call a method that reads; what the file has wrong is a sentence."""
        try:
            return read(*arguments)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.where}/{path}: cannot be read ({_first_line(error)}); restore it or "
                "capture the trace again"
            ) from error

    def _vectors(self, kind: str, layer: int, kv_head: int, name: str) -> Vectors:
        """Return one column of a KV head's row group as (rows, head_dim), without a copy."""
        column = self._row_group(kind, layer, kv_head, [name]).column(0)
        return vectors_of(column, self.manifest.dtype)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
