"""The work of a policy beside reading the selected keys and values."""

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace, Overhead


def stored_bytes(head: KvHeadTrace, elements: Tensor) -> Tensor:
    """Return the bytes of so many elements in the width of the device's keys and values."""
    return elements * head.kv_bits // 8


def overhead(
    head: KvHeadTrace,
    scored_vectors: Tensor | None = None,
    scored_bytes: Tensor | None = None,
    clustered_tokens: Tensor | None = None,
    clustering_flops: Tensor | None = None,
) -> Overhead:
    """Return an overhead in which what is not given is zero."""
    none = torch.zeros(head.steps, dtype=torch.int64, device=head.key.device)

    def given(values: Tensor | None) -> Tensor:
        return none if values is None else values

    return Overhead(
        scored_vectors=given(scored_vectors),
        scored_bytes=given(scored_bytes),
        clustered_tokens=given(clustered_tokens),
        clustering_flops=given(clustering_flops),
        moved_tokens=none,
    )


def vector_scan(head: KvHeadTrace, vectors: Tensor, vectors_per_score: int = 1) -> Overhead:
    """Return the overhead of scoring metadata vectors with every query head of the group.

    Args:
        head: The KV head.
        vectors: Vectors in the metadata at each step, (steps,) int64, read once for the group.
        vectors_per_score: Vectors that one score needs (2 for a minimum and a maximum).
    """
    read = vectors * vectors_per_score
    return overhead(
        head,
        scored_vectors=read * head.q_heads,
        scored_bytes=stored_bytes(head, read * head.head_dim),
    )
