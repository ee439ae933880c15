"""Refuse numbers that no trace can hold: those that are not finite, or not what was attended."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tracegen.base.errors import UserError

Named = tuple[str, str, Tensor, int]
"""What vectors are, whose they are, the vectors (heads, tokens, head_dim), their first token."""


def all_finite(*tensors: Tensor) -> bool:
    """Return whether every number is finite, from one sum of each: cheaper than a test of each."""
    return all(bool(one.sum(dtype=torch.float32).isfinite()) for one in tensors)


def refuse_not_finite(layer: int, dtype: str, named: Sequence[Named]) -> None:
    """Refuse vectors that are not finite.

    Raises:
        UserError: says in which layer and head, and from which token on.
    """
    for what, whose, vectors, first in named:
        bad = ~vectors.isfinite().all(dim=-1)  # (heads, tokens)
        if bad.any():
            token = int(bad.any(dim=0).nonzero()[0])
            number = int(bad[:, token].nonzero()[0])
            raise UserError(
                f"layer {layer}, {whose} {number}: the {what} of token {first + token} is not "
                f"finite in {dtype}; give another --dtype (bfloat16 and float32 hold larger "
                "numbers than float16)"
            )


def stored_exactly(vectors: Tensor, dtype: torch.dtype, place: str) -> Tensor:
    """Return vectors of a cache in a trace's type.

    Raises:
        UserError: they are not numbers of that type, or not finite.
    """
    narrow = vectors.to(dtype)
    if not torch.equal(narrow.to(vectors.dtype), vectors):
        raise UserError(
            f"{place}: the model's cache holds numbers that a trace in {dtype} cannot; "
            "give --dtype float32"
        )
    return narrow
