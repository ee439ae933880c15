"""GGUF files: what is refused of them by name, what a manifest says of them, and their loading.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Weights are unpacked when
they are loaded; packed, every product of a prompt would unpack them again.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import gguf
import numpy as np

from tracegen.base.errors import UserError


class _Reader(gguf.GGUFReader):  # type: ignore[misc]
    """The package's reader over a plain array: a `memmap` makes each of its many slices slow."""

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)


_read = cache(_Reader)
_TOKENS = "tokenizer.ggml.tokens"


def describe(name: str, path: Path) -> dict[str, Any]:
    """Refuse a file that cannot be loaded; return what a manifest says of one that can.

    Returns:
        `file`, `sha256`, `architecture` and `tensor_types`, how many tensors are stored in each
        type, for example {"F32": 61, "Q4_1": 210, "Q8_0": 1}.

    Raises:
        UserError: says what `--model name` lacks, or what of it is not supported.
    """
    reader = _header(name, path)
    parts = int(reader.fields["split.count"].contents()) if "split.count" in reader.fields else 1
    if parts > 1:
        raise UserError(
            f"--model {name}: one of the {parts} files of a split model; join them with "
            "`llama-gguf-split --merge` and give the whole file"
        )
    for needed, what in (("general.architecture", "architecture"), (_TOKENS, "tokenizer")):
        if needed not in reader.fields:
            raise UserError(f"--model {name}: holds no {what} ({needed}); give a file with one")
    types = Counter(tensor.tensor_type for tensor in reader.tensors)
    unknown = sorted(one.name for one in types if not _can_unpack(one))
    if unknown:
        raise UserError(
            f"--model {name}: quantised as {', '.join(unknown)}, which cannot be unpacked here; "
            "give another quantisation, for example Q4_K_M or Q8_0"
        )
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "file": path.name,
        "sha256": sha256,
        "architecture": str(reader.fields["general.architecture"].contents()),
        "tensor_types": {one.name: types[one] for one in sorted(types, key=lambda one: one.name)},
    }


def _header(name: str, path: Path) -> Any:
    """Return the parsed header of a file that is whole."""
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"--model {name}: an empty file; download it again")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(f"--model {name}: not a GGUF file, whose first bytes are GGUF")
    try:
        return _read(str(path))
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise UserError(
            f"--model {name}: truncated or damaged ({size:,} bytes: {error}); download it again"
        ) from error


def _can_unpack(kind: gguf.GGMLQuantizationType) -> bool:
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    try:
        gguf.dequantize(np.zeros(block_bytes, dtype=np.uint8), kind)
    except NotImplementedError:
        return False
    return True


@contextmanager
def reading_once() -> Iterator[None]:
    """Let `transformers` read a file's header once: it would parse it for each thing it asks.

    Its table of tensor names is asked for once a module, always with the same answer. Its progress
    bar is shown on a terminal only.
    """
    from transformers import modeling_gguf_pytorch_utils as loader

    with (
        mock.patch.object(loader, "tqdm", partial(loader.tqdm, disable=None)),
        mock.patch.object(gguf, "GGUFReader", _read),
        mock.patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
        try:
            yield
        finally:
            _read.cache_clear()
