"""What each step may see, in tiles of steps that keep memory bounded."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget

TILE_BYTES = 16 << 20
"""Bound on the score matrix of one tile of steps.

Small enough for the allocator to hand the same memory out again: above 32 MB every matrix would be
mapped and zeroed anew, which costs as much as computing it.
"""


def tiles(head: KvHeadTrace, columns: int | None = None) -> Iterator[slice]:
    """Cut the steps so that a float32 (q_heads, tile, columns) matrix stays below TILE_BYTES."""
    step_bytes = 4 * head.q_heads * (head.tokens if columns is None else columns)
    size = max(1, TILE_BYTES // max(1, step_bytes))
    for first in range(0, head.steps, size):
        yield slice(first, min(first + size, head.steps))


def first_seen(head: KvHeadTrace) -> Tensor:
    """Return the first token each step sees, 0 outside sliding-window layers: (steps,) int64."""
    if head.sliding_window is None:
        return torch.zeros_like(head.visible)
    return (head.visible - head.sliding_window).clamp_min(0)


def budget_tokens(head: KvHeadTrace, budget: Budget) -> Tensor:
    """Return the budget of each step, at most what it sees: (steps,) int64."""
    seen = head.visible - first_seen(head)
    return torch.minimum(budget.tokens(seen), seen)


def seen_mask(head: KvHeadTrace, steps: slice, stop: int | None = None) -> Tensor:
    """Return which of the tokens 0..stop the given steps see: (tile, stop) bool."""
    token = torch.arange(head.tokens if stop is None else stop, device=head.key.device)
    low, high = first_seen(head)[steps, None], head.visible[steps, None]
    return (token[None] >= low) & (token[None] < high)


def hide_unseen(scores: Tensor, head: KvHeadTrace, steps: slice) -> Tensor:
    """Set scores of tokens that a step does not see to -inf, in place: (..., tile, stop)."""
    minus = float("-inf")
    lowest = head.prompt_tokens + steps.start + 1  # every step of the tile sees below this
    token = torch.arange(lowest, scores.shape[-1], device=scores.device)
    scores[..., lowest:].masked_fill_(token[None] >= head.visible[steps, None], minus)
    if head.sliding_window is not None:
        low = first_seen(head)[steps]
        end = int(low.max()) if len(low) else 0
        token = torch.arange(end, device=scores.device)
        scores[..., :end].masked_fill_(token[None] < low[:, None], minus)
    return scores


def logits(head: KvHeadTrace, steps: slice, query: Tensor | None = None) -> Tensor:
    """Return the attention logits of a tile, unseen tokens -inf: (q_heads, tile, stop).

    `stop` is the last tile step's visible count. `query` replaces the head's own.
    """
    stop = head.prompt_tokens + steps.stop
    query = head.query if query is None else query
    scores = head.logits(query[:, steps] @ head.key[:stop].T)
    return hide_unseen(scores, head, steps)
