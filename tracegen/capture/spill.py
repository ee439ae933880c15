"""Write what is recorded layer by layer, with memory that does not grow with the steps.

A model's steps go through all layers before the next step, and a trace holds one layer after the
other. The keys and values of a layer wait in the model's own cache, which holds all of them at the
last step. What no cache keeps waits in one scratch file a layer, in the final order (head after
head), into which decode steps are written in batches: queries, outputs and, where a sliding window
lets the cache forget, keys and values.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tracegen.base.errors import UserError
from tracegen.capture.dtype import DTYPES
from tracegen.capture.recording import Call
from tracegen.capture.soundness import all_finite, refuse_not_finite, stored_exactly
from tracegen.trace.schema import NUMPY_DTYPE, Manifest
from tracegen.trace.store import Vectors
from tracegen.trace.writer import TraceWriter

_BATCH_STEPS = 32
_QUERY, _OUTPUT, _KEY, _VALUE = range(4)


def to_numpy(tensor: Tensor, dtype: str) -> Vectors:
    """Return a tensor as numpy in the trace's type, bfloat16 as its bits."""
    tensor = tensor.to("cpu", DTYPES[dtype]).contiguous()
    if dtype == "bfloat16":
        return tensor.view(torch.int16).numpy().view(np.uint16)
    array: Vectors = tensor.numpy()
    return array


def scratch_bytes(manifest: Manifest) -> int:
    """Return the size of all scratch files of a capture."""
    return sum(sum(_part_bytes(manifest, layer)) for layer in manifest.layers)


class Spill:
    """Sink of a capture: takes every call and writes each layer at its last step.

    The first call of a layer is the prompt, each further one a decode step.
    """

    def __init__(self, writer: TraceWriter) -> None:
        folder = writer.path / "scratch"
        folder.mkdir()
        self._layers = {layer: _Layer(folder, layer, writer) for layer in writer.manifest.layers}

    def record(self, call: Call) -> None:
        """Take one layer's call."""
        layer = self._layers.get(call.layer)
        if layer is not None:
            layer.record(call)

    def close(self) -> None:
        """Remove the scratch files, also those of a capture that failed."""
        for layer in self._layers.values():
            layer.close()


class _Layer:
    """One layer, and its scratch file of queries, outputs and perhaps keys and values."""

    def __init__(self, folder: Path, layer: int, writer: TraceWriter) -> None:
        self._writer = writer
        self._manifest = writer.manifest
        self._number = layer
        self._head_dim = self._manifest.head_dim_of(layer)
        self._path = folder / f"{layer:03d}"
        self._file: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT)
        self._forgets = _forgets(self._manifest, layer)
        sizes = _part_bytes(self._manifest, layer)
        self._starts = [sum(sizes[:part]) for part in range(len(sizes))]
        self._steps: int | None = None  # decode steps recorded; None: the prompt is to come
        self._pending = 0  # of them in the batch
        self._batch: list[Tensor] = []

    def record(self, call: Call) -> None:
        if self._steps is None:
            self._record_prompt(call)
            self._steps = 0
            return
        new = (call.query[:, -1], call.output[:, -1])
        if not self._batch:
            self._batch = [one.new_empty(one.shape[0], _BATCH_STEPS, one.shape[1]) for one in new]
        for batch, one in zip(self._batch, new, strict=True):
            batch[:, self._pending] = one
        self._pending += 1
        self._steps += 1
        cached = call.key.shape[1]
        full = self._pending == (min(_BATCH_STEPS, cached) if self._forgets else _BATCH_STEPS)
        last = self._steps == self._manifest.decode_steps
        if full or last:
            self._flush(call)
        if last:
            self._write(call)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._path.unlink(missing_ok=True)
            self._file = None

    def _record_prompt(self, call: Call) -> None:
        manifest = self._manifest
        if self._forgets:
            self._put(_KEY, 0, call.key)
            self._put(_VALUE, 0, call.value)
        assert call.sums is not None  # a prompt is always attended in tiles
        if not all_finite(call.output, call.sums[0]):
            self._refuse_not_finite(call, call.query, call.output, 0)
        self._writer.write_prompt(
            self._number,
            to_numpy(call.query[:, -manifest.prompt_queries :], manifest.dtype),
            (to_numpy(call.sums[0], "float32"), to_numpy(call.sums[1], "float32")),
        )

    def _flush(self, call: Call) -> None:
        """Put the batch into the scratch file, and what the cache is going to forget."""
        assert self._steps is not None
        pending, first = self._pending, self._steps - self._pending
        query, output = (batch[:, :pending] for batch in self._batch)
        if not all_finite(output):
            self._refuse_not_finite(call, query, output, self._manifest.prompt_tokens + first)
        self._put(_QUERY, first, query)
        self._put(_OUTPUT, first, output)
        if self._forgets:
            first += self._manifest.prompt_tokens
            self._put(_KEY, first, call.key[:, -pending:])
            self._put(_VALUE, first, call.value[:, -pending:])
        self._pending = 0

    def _write(self, call: Call) -> None:
        """Write the finished layer."""
        manifest = self._manifest
        queries = (manifest.q_heads, manifest.decode_steps)
        self._writer.write_queries(
            self._number, self._read(_QUERY, 0, *queries), self._read(_OUTPUT, 0, *queries)
        )
        if self._number in manifest.kv_layers:
            kv_heads = self._spilled() if self._forgets else self._kept(call)
            self._writer.write_kv(self._number, kv_heads)
        self._batch = []
        self.close()

    def _kept(self, call: Call) -> Iterator[tuple[Vectors, Vectors]]:
        """Yield each KV head's keys and values from the cache."""
        manifest = self._manifest
        if call.key.shape[1] != manifest.tokens:
            raise UserError(
                f"{manifest.architecture}: the cache of layer {self._number} holds "
                f"{call.key.shape[1]:,} of {manifest.tokens:,} tokens at the last step, so it "
                "cannot be captured"
            )
        dtype = DTYPES[manifest.dtype]
        for kv_head, vectors in enumerate(zip(call.key, call.value, strict=True)):
            place = f"layer {self._number}, KV head {kv_head}"
            key, value = (stored_exactly(one, dtype, place) for one in vectors)
            yield to_numpy(key, manifest.dtype), to_numpy(value, manifest.dtype)

    def _refuse_not_finite(self, call: Call, query: Tensor, output: Tensor, first: int) -> None:
        """Refuse a prompt or a batch of steps; `first` is the token of its first query."""
        cached = first + query.shape[1] - call.key.shape[1]
        refuse_not_finite(
            self._number,
            self._manifest.dtype,
            [
                ("key", "KV head", call.key, cached),
                ("value", "KV head", call.value, cached),
                ("query", "query head", query, first),
                ("attention output", "query head", output, first),
            ],
        )

    def _spilled(self) -> Iterator[tuple[Vectors, Vectors]]:
        """Yield each KV head's keys and values from the scratch file."""
        tokens = self._manifest.tokens
        for head in range(self._manifest.kv_heads):
            yield self._read(_KEY, head, 1, tokens)[0], self._read(_VALUE, head, 1, tokens)[0]

    def _put(self, part: int, row: int, vectors: Tensor) -> None:
        """Write (heads, rows, head_dim) at a row of each head."""
        assert self._file is not None
        for head, one in enumerate(to_numpy(vectors, self._manifest.dtype)):
            start = self._offset(part, head, row)
            data = one.data.cast("B")
            while data:
                written = os.pwrite(self._file, data, start)
                data, start = data[written:], start + written

    def _read(self, part: int, head: int, heads: int, rows: int) -> Vectors:
        """Return so many heads of a part, (heads, rows, head_dim)."""
        manifest = self._manifest
        vectors = np.fromfile(
            self._path,
            dtype=NUMPY_DTYPE[manifest.dtype],
            count=heads * rows * self._head_dim,
            offset=self._offset(part, head, 0),
        )
        return vectors.reshape(heads, rows, self._head_dim)

    def _offset(self, part: int, head: int, row: int) -> int:
        manifest = self._manifest
        rows = manifest.decode_steps if part in (_QUERY, _OUTPUT) else manifest.tokens
        return self._starts[part] + (head * rows + row) * manifest.vector_bytes(self._number)


def _forgets(manifest: Manifest, layer: int) -> bool:
    """Return whether a layer has a cache of its own that may drop a token before the last step."""
    window = manifest.sliding_window[manifest.layers.index(layer)]
    return layer in manifest.kv_layers and window is not None and window < manifest.tokens


def _part_bytes(manifest: Manifest, layer: int) -> list[int]:
    """Return the size of each part of a layer's scratch file."""
    queries = manifest.q_heads * manifest.decode_steps * manifest.vector_bytes(layer)
    keys = manifest.kv_heads * manifest.tokens * manifest.vector_bytes(layer)
    return [queries, queries, *([keys, keys] if _forgets(manifest, layer) else [])]
