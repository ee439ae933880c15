"""PQCache: approximate scores from product-quantised keys, then exact attention on the best.

Zhang et al., "PQCache: Product Quantization-based KVCache for Long Context LLM Inference", SIGMOD
2025 (arXiv 2407.12820, section 3); behaviour as described by HugoZHL/PQCache @ 0b74e12
(first centroids are keys drawn at random there: draws differ, the method does not).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace, Overhead, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.kmeans import assign, kmeans
from pimreplay.selection.kmeans_flops import flops
from pimreplay.selection.once import once
from pimreplay.selection.overhead import overhead
from pimreplay.selection.top_k import Gqa, empty_mask, share, spread, top_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, hide_unseen, seen_mask, tiles
from pimreplay.variants import MOST_ITERATIONS, at_least, at_most
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class PQCache:
    """Keep sinks, a recent window and the best others by quantised keys; all inside the budget.

    Codebooks are trained on the prompt after the sinks and never again; a token gets the nearest
    codes when it leaves the recent window.
    """

    sub_vectors: int = 2
    """Parts that a key is cut into."""
    bits: int = 6
    """Each part is coded by one of 2^bits centroids."""
    iterations: int = 10
    sinks: int = 32
    """First tokens always kept; at most half of the budget."""
    recent_ratio: float = 0.5
    """Share of what the sinks leave that the latest tokens get, the current one among them."""
    gqa: Gqa = "group_shared"
    """The paper's `group_shared` ranks by the approximate weights summed over the group."""

    def __post_init__(self) -> None:
        at_least(self, sub_vectors=1, bits=1, iterations=1, sinks=0, recent_ratio=0)
        at_most(self, bits=15, recent_ratio=1, iterations=MOST_ITERATIONS)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return sinks, window and best tokens of every step."""
        if head.head_dim % self.sub_vectors:
            raise UserError(
                f"policy pqcache: sub_vectors={self.sub_vectors} does not divide the head_dim of "
                f"{head.head_dim}; give a divisor"
            )
        now = budget_tokens(head, budget)
        sinks = torch.minimum(torch.full_like(now, self.sinks), now // 2)
        recent = ((now - sinks).double() * self.recent_ratio).long().clamp_min(1)
        centroid, code, work = once(head, self, self._codes)
        mask = empty_mask(head, self.gqa)
        low = first_seen(head)
        for steps in tiles(head):
            stop = head.prompt_tokens + steps.stop
            scores = self._scores(head, steps, centroid, code[:, :stop])
            token = torch.arange(stop, device=scores.device)
            keep = token < (low + sinks)[steps, None]
            keep |= token >= (head.visible - recent)[steps, None]
            hide_unseen(scores, head, steps)
            scores.masked_fill_(keep, float("-inf"))
            if self.gqa == "group_shared":
                hidden = torch.isneginf(scores[:1])
                weights = head.softmax(scores).nan_to_num_(0.0)  # no candidates: all hidden
                scores = weights.sum(0, keepdim=True).masked_fill_(hidden, float("-inf"))
            keep &= seen_mask(head, steps, stop)
            best = top_mask(scores, now[steps] - keep.sum(-1))
            mask[:, steps, :stop] = best | keep
        return Selection(share(mask, self.gqa, head.q_heads), None, self._overhead(head, work))

    def _codes(self, head: KvHeadTrace) -> tuple[Tensor, Tensor, int]:
        """Return (centroids (sub_vectors, n, part), codes (sub_vectors, tokens), flops)."""
        part = head.head_dim // self.sub_vectors
        key = head.key.view(head.tokens, self.sub_vectors, part).transpose(0, 1).contiguous()
        first = self.sinks if head.prompt_tokens > self.sinks else 0
        trained = key[:, first : head.prompt_tokens]
        count = min(2**self.bits, trained.shape[1])
        random = torch.Generator().manual_seed(head.seed)
        start = torch.randperm(trained.shape[1], generator=random)[:count].to(key.device)
        found = kmeans(trained, trained[:, start], self.iterations, empty="keep")
        work = flops(trained.shape[1], count, part, found.assignments)
        return found.centroid, assign(key, found.centroid), work

    def _scores(self, head: KvHeadTrace, steps: slice, centroid: Tensor, code: Tensor) -> Tensor:
        """Return the approximate logits of a tile: (q_heads, tile, stop)."""
        query = head.query[:, steps].unflatten(-1, (self.sub_vectors, -1))  # type: ignore[no-untyped-call]
        scores = torch.zeros(())
        for index in range(self.sub_vectors):
            table = query[:, :, index] @ centroid[index].T * head.softmax_scale
            looked_up = spread(table, code[index])
            scores = looked_up if index == 0 else scores.add_(looked_up)
        return scores

    def _overhead(self, head: KvHeadTrace, work: int) -> Overhead:
        seen = head.visible - first_seen(head)
        first = torch.zeros_like(seen)
        first[:1] = 1
        clustered = torch.zeros_like(seen)
        clustered[:1] = head.prompt_tokens
        table_bytes = 2**self.bits * head.head_dim * head.kv_bits // 8
        return overhead(
            head,
            scored_vectors=torch.full_like(seen, 2**self.bits * head.q_heads),
            scored_bytes=-(-seen * self.sub_vectors * self.bits // 8) + table_bytes,
            clustered_tokens=clustered,
            clustering_flops=first * work,
        )
