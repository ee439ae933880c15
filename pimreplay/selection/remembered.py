"""Do the same work on the same numbers once: clustering a prompt for one budget after another."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, cast

from torch import Tensor

P = ParamSpec("P")
Made = TypeVar("Made")
_kept: list[dict[bytes, object]] = []
"""Of each block that is open, the innermost last."""


@contextmanager
def remembering() -> Iterator[None]:
    """Keep what `remembered` functions return until the end of the block."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()


def remembered(work: Callable[P, Made]) -> Callable[P, Made]:
    """Decorate a function whose result depends on its arguments alone: tensors and plain values.

    Inside `remembering` it works once on equal numbers, wherever they lie: the hash of a prompt's
    keys costs a small part of clustering them. Its results must not be changed by their users.
    """

    @functools.wraps(work)
    def once(*args: P.args, **kwargs: P.kwargs) -> Made:
        if not _kept:
            return work(*args, **kwargs)
        kept = _kept[-1]
        key = _hash(work.__qualname__, *args, *sorted(kwargs.items()))
        if key not in kept:
            kept[key] = work(*args, **kwargs)
        return cast(Made, kept[key])

    return once


def _hash(*values: object) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} {value.device}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().data)
        else:
            digest.update(f"{value!r};".encode())
    return digest.digest()
