"""Keep what is recorded on disk until its layer can be written, so that memory stays bounded.

A model's steps go through all layers before the next step, and a trace holds one layer after the
other. Each layer has one scratch file in the final order (head after head), into which decode steps
are written in batches.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tracegen.recording import Call
from tracegen.schema import Manifest
from tracegen.store import NUMPY_DTYPE, Vectors
from tracegen.writer import TraceWriter

_BATCH_STEPS = 32
_TORCH_DTYPE = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}


def to_numpy(tensor: Tensor, dtype: str) -> Vectors:
    """Return a tensor as numpy in the trace's type, bfloat16 as its bits."""
    tensor = tensor.to("cpu", _TORCH_DTYPE[dtype]).contiguous()
    if dtype == "bfloat16":
        return tensor.view(torch.int16).numpy().view(np.uint16)
    array: Vectors = tensor.numpy()
    return array


class Spill:
    """Sink of a capture: takes every call, then writes the layers.

    The first call of a layer is the prompt, each further one a decode step.
    """

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._folder = writer.path / "scratch"
        self._folder.mkdir()
        self._layers = {
            layer: _Layer(self._folder, layer, writer) for layer in self._manifest.layers
        }

    @property
    def _manifest(self) -> Manifest:
        return self._writer.manifest

    def record(self, call: Call) -> None:
        """Take one layer's call."""
        layer = self._layers.get(call.layer)
        if layer is not None:
            layer.record(call)

    def write(self) -> None:
        """Write keys, values, queries and outputs of every layer and free the scratch files."""
        for layer in self._layers.values():
            layer.write()
        self._folder.rmdir()

    def close(self) -> None:
        """Close the scratch files, also those of a capture that failed."""
        for layer in self._layers.values():
            layer.close()


class _Layer:
    """Scratch file of one layer: keys, values, queries, outputs, each head after head."""

    def __init__(self, folder: Path, layer: int, writer: TraceWriter) -> None:
        manifest = writer.manifest
        self._writer = writer
        self._manifest = manifest
        self._number = layer
        self._path = folder / f"{layer:03d}"
        self._file: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT)
        rows = (manifest.tokens, manifest.tokens, manifest.decode_steps, manifest.decode_steps)
        self._heads = (manifest.kv_heads, manifest.kv_heads, manifest.q_heads, manifest.q_heads)
        self._rows = rows
        sizes = [
            heads * n * manifest.vector_bytes for heads, n in zip(self._heads, rows, strict=True)
        ]
        self._starts = [sum(sizes[:i]) for i in range(4)]
        self._steps: int | None = None  # decode steps recorded; None: the prompt is to come
        self._batch: list[Tensor] = []

    def record(self, call: Call) -> None:
        if self._steps is None:
            self._record_prompt(call)
            self._steps = 0
            return
        if not self._batch:
            self._batch = [
                torch.empty(
                    heads, _BATCH_STEPS, self._manifest.head_dim, dtype=one.dtype, device=one.device
                )
                for heads, one in zip(self._heads, _parts(call), strict=True)
            ]
        slot = self._steps % _BATCH_STEPS
        for batch, one in zip(self._batch, _parts(call), strict=True):
            batch[:, slot] = one[:, -1]
        self._steps += 1
        if slot == _BATCH_STEPS - 1:
            self._flush()

    def write(self) -> None:
        assert self._file is not None and self._steps == self._manifest.decode_steps
        self._flush()
        query, output = self._read(2), self._read(3)
        self._writer.write_queries(self._number, query, output)
        self._writer.write_kv(
            self._number,
            ((self._read(0, head)[0], self._read(1, head)[0]) for head in range(self._heads[0])),
        )
        self.close()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._path.unlink(missing_ok=True)
            self._file = None

    def _record_prompt(self, call: Call) -> None:
        manifest = self._manifest
        for part, one in enumerate((call.key, call.value)):
            for head in range(manifest.kv_heads):
                self._put(part, head, 0, to_numpy(one[head], manifest.dtype))
        assert call.sums is not None  # a prompt is always attended in tiles
        self._writer.write_prompt(
            self._number,
            to_numpy(call.query[:, -manifest.prompt_queries :], manifest.dtype),
            (to_numpy(call.sums[0], "float32"), to_numpy(call.sums[1], "float32")),
        )

    def _flush(self) -> None:
        assert self._steps is not None
        pending = self._steps % _BATCH_STEPS or (_BATCH_STEPS if self._batch else 0)
        first = self._steps - pending
        for part, batch in enumerate(self._batch):
            row = first + (self._manifest.prompt_tokens if part < 2 else 0)
            vectors = to_numpy(batch[:, :pending], self._manifest.dtype)
            for head in range(self._heads[part]):
                self._put(part, head, row, vectors[head])
        self._batch = []

    def _put(self, part: int, head: int, row: int, vectors: Vectors) -> None:
        assert self._file is not None
        start = self._starts[part] + (head * self._rows[part] + row) * self._manifest.vector_bytes
        data = vectors.data.cast("B")
        while data:
            written = os.pwrite(self._file, data, start)
            data, start = data[written:], start + written

    def _read(self, part: int, head: int | None = None) -> Vectors:
        """Return one part of the file, or one head of it, (heads, rows, head_dim)."""
        manifest = self._manifest
        heads = self._heads[part] if head is None else 1
        start = self._starts[part] + (head or 0) * self._rows[part] * manifest.vector_bytes
        count = heads * self._rows[part] * manifest.head_dim
        vectors = np.fromfile(
            self._path, dtype=NUMPY_DTYPE[manifest.dtype], count=count, offset=start
        )
        return vectors.reshape(heads, self._rows[part], manifest.head_dim)


def _parts(call: Call) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return call.key, call.value, call.query, call.output
