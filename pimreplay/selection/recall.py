"""What a selection keeps of the model's attention: mass, best tokens, output.

Three figures per query head and step, against exact attention over everything the step may see:
attention mass kept (of what the tokens get: a sink's share is nobody's), overlap with the exact
top-k of as many tokens, and relative L2 error of the attention output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace
from pimreplay.selection.masks import count_true

TILE_BYTES = 128 << 20
"""Memory of one tile of steps. Fixed, so that no figure depends on how many workers share a
machine: the width of a matrix product can change its last bits."""
TINY_MASS = 1e-20
KEPT_BYTES = 128 << 20
"""Exact attention below this size is kept between selections of one KV head, else recomputed."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Means over the query heads of the group, each (steps,) float64 in 0..1 (error: 0 up)."""

    attention_mass_ratio: np.ndarray
    topk_overlap_ratio: np.ndarray
    output_error_ratio: np.ndarray


@dataclass(frozen=True, slots=True)
class _Tile:
    steps: slice
    logits: Tensor  # (q_heads, steps, tokens), -inf where a step must not look
    weights: Tensor  # softmax of them
    total: Tensor  # sum of the weights, (q_heads, steps): 1 less what a sink takes
    ranked: np.ndarray  # logits ascending, (q_heads, steps, tokens) float32
    output: Tensor  # (q_heads, steps, head_dim)


def seen_tokens(head: KvHeadTrace, first: int = 0, stop: int | None = None) -> Tensor:
    """Return which tokens steps first..stop may see: (steps, tokens) bool.

    A step sees itself and everything before it, in a sliding-window layer only the last tokens.
    """
    visible = head.visible[first:stop, None]
    token = torch.arange(head.tokens, device=head.key.device)[None, :]
    seen = token < visible
    if head.sliding_window is not None:
        seen &= token >= visible - head.sliding_window
    return seen


class ExactAttention:
    """Exact attention of one KV head's queries, in tiles of steps of bounded memory."""

    def __init__(self, head: KvHeadTrace, stored: KvHeadTrace | None = None) -> None:
        """Prepare to compare with `head`; selections attend keys and values as `stored`."""
        self.head = head
        self.stored = head if stored is None else stored
        # logits, weights, ranks, the mask's and one selection's softmax: five floats at a time
        step_bytes = head.q_heads * head.tokens * 4 * 5
        self._tile_steps = max(1, min(head.steps, TILE_BYTES // max(1, step_bytes)))
        self._keep = step_bytes * head.steps <= KEPT_BYTES
        self._kept: list[_Tile] = []
        self._seen = count_true(seen_tokens(head))

    def _tiles(self) -> Iterator[_Tile]:
        if not self._keep:
            return self._computed()
        if not self._kept:
            self._kept = list(self._computed())
        return iter(self._kept)

    def _computed(self) -> Iterator[_Tile]:
        for first in range(0, self.head.steps, self._tile_steps):
            yield self._tile(slice(first, min(first + self._tile_steps, self.head.steps)))

    def _tile(self, steps: slice) -> _Tile:
        logits = self._logits(self.head, steps)
        weights = self.head.softmax(logits)
        total = weights.sum(-1) if self.head.sink_logit is not None else torch.ones(())
        # numpy sorts float32 with vector instructions, several times faster than torch
        ranked = np.sort(logits.cpu().numpy(), axis=-1)
        return _Tile(steps, logits, weights, total, ranked, weights @ self.head.value)

    def _logits(self, head: KvHeadTrace, steps: slice) -> Tensor:
        """Return (q_heads, steps, tokens), -inf where a step must not look."""
        logits = head.logits(head.query[:, steps] @ head.key.T)
        return logits.masked_fill_(~seen_tokens(head, steps.start, steps.stop), float("-inf"))

    def recall(self, mask: Tensor, output: Tensor | None = None) -> Recall:
        """Compare a selection with exact attention.

        Args:
            mask: attended tokens, (q_heads, steps, tokens) bool.
            output: the policy's own attention output, (q_heads, steps, head_dim); None: the
                softmax over the selected tokens.
        """
        (found,) = self.recall_all([(mask, output)])
        return found

    def recall_all(self, selections: Sequence[tuple[Tensor, Tensor | None]]) -> list[Recall]:
        """Compare several selections, as `recall` does one; exact attention is computed once."""
        found: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in selections]
        partial = [
            output is not None
            or self.stored is not self.head
            or not bool((count_true(mask) == self._seen).all())
            for mask, output in selections
        ]
        for tile in self._tiles() if any(partial) else ():
            for (mask, output), some, figures in zip(selections, partial, found, strict=True):
                if some:
                    own = None if output is None else output[:, tile.steps]
                    figures.append(self._figures(tile, mask[:, tile.steps], own))
        return [
            Recall(*(_mean_over_q_heads(one) for one in zip(*figures, strict=True)))
            if some
            else self._everything()
            for some, figures in zip(partial, found, strict=True)
        ]

    def _figures(
        self, tile: _Tile, chosen: Tensor, output: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass, overlap and error of the tile's steps, each (q_heads, steps)."""
        kept = tile.weights * chosen
        mass = kept.sum(-1)
        found = self._attended(tile, chosen, kept, mass) if output is None else output
        norm = torch.linalg.vector_norm(tile.output, dim=-1).clamp_min(1e-30)
        error = torch.linalg.vector_norm(found - tile.output, dim=-1) / norm
        return mass / tile.total.clamp_min(TINY_MASS), _overlap(tile, chosen), error

    def _everything(self) -> Recall:
        ones = np.ones(self.head.steps)
        return Recall(ones, ones.copy(), np.zeros(self.head.steps))

    def _attended(self, tile: _Tile, chosen: Tensor, kept: Tensor, mass: Tensor) -> Tensor:
        """Return the output over the chosen tokens: their weights, beside a sink's."""
        if self.stored is not self.head:
            scores = self._logits(self.stored, tile.steps).masked_fill_(~chosen, float("-inf"))
            return torch.nan_to_num_(self.head.softmax(scores), nan=0.0) @ self.stored.value
        found = kept @ self.head.value
        if bool((mass > TINY_MASS).all()):
            return found / (mass + (1 - tile.total))[..., None]
        # weights this small have lost their digits: take the softmax anew, 0 if nothing is chosen
        weights = self.head.softmax(tile.logits.masked_fill(~chosen, float("-inf")))
        return torch.nan_to_num_(weights, nan=0.0) @ self.head.value


def _overlap(tile: _Tile, chosen: Tensor) -> Tensor:
    """Return the share of the selected tokens that are among the as many best: (q_heads, steps).

    Tokens that tie with the last of the best count as best, as far as there are places for them.
    """
    count = count_true(chosen)
    tokens = tile.ranked.shape[-1]
    last = (tokens - count.clamp(1, tokens)).cpu().numpy()[..., None]
    threshold = torch.from_numpy(np.take_along_axis(tile.ranked, last, axis=-1))
    threshold = threshold.to(tile.logits.device)
    above = tile.logits > threshold
    hits = count_true(above & chosen)
    ties = count_true((tile.logits == threshold) & chosen)
    hits += torch.minimum(ties, count - count_true(above))
    return hits / count.clamp_min(1)


def _mean_over_q_heads(parts: Sequence[Tensor]) -> np.ndarray:
    joined = torch.cat(list(parts), dim=1)
    return joined.double().mean(0).cpu().numpy()
