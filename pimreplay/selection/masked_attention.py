"""Attention over a mask, for policies whose output is not a plain softmax over what they select."""

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace
from pimreplay.selection.visibility import logits

GATHER_BYTES = 2 << 20
"""Bound on the selected keys gathered at once: they stay in the cache."""
CACHE_BYTES = 1 << 20
GATHER_RATIO = 0.125
"""Below this share of tokens, gathering the selected keys is cheaper than scoring all."""


def attend(head: KvHeadTrace, steps: slice, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the softmax attention of a tile over one mask for all query heads, sinks left out.

    Args:
        head: The head.
        steps: The tile.
        mask: (tile, stop) bool, at least one mark a row.

    Returns:
        The attention output, (q_heads, tile, head_dim), and the logarithm of its denominator,
        (q_heads, tile).
    """
    index, real = positions(mask)
    output = torch.empty_like(head.query[:, steps])
    total = torch.empty(output.shape[:2], device=output.device)
    if index.shape[1] > GATHER_RATIO * mask.shape[1]:
        scores = logits(head, steps).masked_fill_(~mask, float("-inf"))
        total[:] = log_sum_exp(scores)
        return scores.softmax(-1) @ head.value[: mask.shape[1]], total
    rows = max(1, GATHER_BYTES // (4 * head.head_dim * max(1, index.shape[1])))
    for first in range(0, len(index), rows):
        part = slice(first, min(first + rows, len(index)))
        at, kept = index[part], real[part]
        query = head.query[:, steps][:, part].transpose(0, 1)  # (rows, q_heads, head_dim)
        scores = head.logits(query @ head.key[at].transpose(1, 2))
        scores.masked_fill_(~kept[:, None], float("-inf"))
        total[:, part] = scores.logsumexp(-1).T
        output[:, part] = (scores.softmax(-1) @ head.value[at]).transpose(0, 1)
    return output, total


def log_sum_exp(scores: Tensor) -> Tensor:
    """Return log(sum(exp)) of each row: (q_heads, tile, n) -> (q_heads, tile).

    A few rows at a time stay in the cache. Terms below e^-80 of the largest count as that: without
    the floor most of the time goes into exponentials too small for a normal float32, a hundred
    times slower and without effect.
    """
    rows = scores.flatten(0, 1)
    best = rows.amax(dim=-1)
    total = torch.empty_like(best)
    size = max(1, CACHE_BYTES // (4 * max(1, rows.shape[1])))
    work = torch.empty((size, rows.shape[1]), device=rows.device)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        out = torch.sub(part, best[first : first + size, None], out=work[: len(part)])
        torch.sum(out.clamp_min_(-80.0).exp_(), dim=-1, out=total[first : first + size])
    return total.log_().add_(best).view(scores.shape[:2])


def positions(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the marked columns of each row, padded, and which are not padding: (rows, most)."""
    count = mask.sum(-1)
    row, column = mask.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=mask.device) - (count.cumsum(0) - count)[row]
    most = int(count.max()) if len(count) else 0
    index = torch.zeros((len(mask), most), dtype=torch.int64, device=mask.device)
    index[row, place] = column
    real = torch.arange(most, device=mask.device) < count[:, None]
    return index, real
