"""Choose the best of many by score, as masks."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace

Gqa = Literal["per_query_head", "union_of_group", "group_shared"]
"""Whose scores decide for the query heads that share a KV head.

`per_query_head`: each query head selects and attends its own. `union_of_group`: each selects its
own, all attend the union, which is what the banks read anyway. `group_shared`: one selection by
the scores of the whole group, so the budget holds for the KV head.
"""


def top_mask(scores: Tensor, k: Tensor) -> Tensor:
    """Mark the `k` best scores of each row, equal scores the earlier first.

    Entries of -inf are never chosen, so a row may hold fewer than `k`.

    Args:
        scores: (heads, steps, n) float32.
        k: How many of each step's row, (steps,) int64; below 1 chooses nothing.

    Returns:
        (heads, steps, n) bool.
    """
    mask = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for steps, count in _runs(k):
        part = scores[:, steps]
        if count >= scores.shape[-1]:
            mask[:, steps] = part > float("-inf")
        elif count > 0:
            mask[:, steps] = _equal_k(part, count)
    return mask


def _runs(k: Tensor) -> list[tuple[slice, int]]:
    values, lengths = torch.unique_consecutive(k, return_counts=True)
    stops = lengths.cumsum(0).tolist()
    starts = [0, *stops[:-1]]
    return [
        (slice(start, stop), int(value))
        for start, stop, value in zip(starts, stops, values.tolist(), strict=True)
    ]


def _equal_k(scores: Tensor, k: int) -> Tensor:
    if scores.device.type != "cpu":
        best, index = scores.topk(k, dim=-1)
        mask = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        return mask.scatter_(-1, index, best > float("-inf"))
    # numpy's partition uses vector instructions: several times faster than torch's top-k
    rows = scores.numpy().reshape(-1, scores.shape[-1])
    cut = np.partition(rows, rows.shape[1] - k, axis=1)[:, rows.shape[1] - k, None]
    mask_rows = rows >= cut
    if np.isneginf(cut).any():
        mask_rows &= rows > -np.inf
    surplus = _count(mask_rows) - k
    for row in np.flatnonzero(surplus > 0):
        equal = np.flatnonzero(rows[row] == cut[row])
        mask_rows[row, equal[len(equal) - surplus[row] :]] = False
    return torch.from_numpy(mask_rows.reshape(scores.shape))


def _count(mask: np.ndarray) -> np.ndarray:
    """Count the marks of each row, eight at a time."""
    whole = mask.shape[1] // 8 * 8
    eights = np.ascontiguousarray(mask[:, :whole]).view(np.uint64)
    count: np.ndarray = np.bitwise_count(eights).sum(axis=1, dtype=np.int64)
    count += mask[:, whole:].sum(axis=1, dtype=np.int64)
    return count


def best_first(scores: Tensor) -> Tensor:
    """Return the places of each row's scores from best to worst, in the last dimension."""
    if scores.device.type != "cpu":
        return scores.argsort(dim=-1, descending=True)
    # numpy's argsort uses vector instructions: several times faster than torch's
    return torch.from_numpy(np.argsort(-scores.numpy(), axis=-1))


def spread(values: Tensor, index: Tensor) -> Tensor:
    """Return `values[..., index]`: per-cluster values to per-token ones."""
    if values.device.type != "cpu":
        return values.index_select(-1, index)
    return torch.from_numpy(np.take(values.numpy(), index.numpy(), axis=-1))


def empty_mask(head: KvHeadTrace, gqa: Gqa = "per_query_head") -> Tensor:
    """Return a mask of no tokens, (q_heads, steps, tokens) bool; of one group if that is shared."""
    heads = 1 if gqa == "group_shared" else head.q_heads
    shape = (heads, head.steps, head.tokens)
    return torch.zeros(shape, dtype=torch.bool, device=head.key.device)


def ranking_query(head: KvHeadTrace, gqa: Gqa) -> Tensor:
    """Return the queries that score clusters, as `empty_mask` has rows: the group's sum if shared.

    (q_heads or 1, steps, head_dim).
    """
    return head.query.sum(0, keepdim=True) if gqa == "group_shared" else head.query


def share(mask: Tensor, gqa: Gqa, q_heads: int) -> Tensor:
    """Give every query head its mask under the `gqa` mode: (q_heads, steps, tokens).

    Args:
        mask: (q_heads, steps, tokens), or (1, steps, tokens) of the whole group.
        gqa: Mode; `group_shared` needs nothing more than one mask repeated.
        q_heads: Query heads of the group.
    """
    if gqa == "union_of_group":
        mask = mask.any(dim=0, keepdim=True)
    return mask if mask.shape[0] == q_heads else mask.expand(q_heads, -1, -1).clone()
