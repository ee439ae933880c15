"""Quest: pages of consecutive tokens ranked by an upper bound of their attention logits.

Tang et al., "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference", ICML 2024
(arXiv 2406.10774, section 3); behaviour as mit-han-lab/Quest @ 01c1623,
evaluation/quest_attention.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import vector_scan
from pimreplay.selection.top_k import Gqa, empty_mask, share, spread, top_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, seen_mask, tiles
from pimreplay.variants import at_least


@dataclass(frozen=True, slots=True)
class Quest:
    """Keep the best pages, `max(min_pages, budget // page_tokens)` of them.

    Everything counts inside the budget. The last page may be partly filled and then holds fewer
    tokens than it counts for.
    """

    page_tokens: int = 16
    min_pages: int = 3
    """Never fewer pages than this (3 in the public code)."""
    gqa: Gqa = "per_query_head"
    """`group_shared` ranks by the bounds summed over the group."""

    def __post_init__(self) -> None:
        at_least(self, page_tokens=1, min_pages=1)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the tokens of the best pages of every step."""
        size = self.page_tokens
        seen = head.visible - first_seen(head)
        budget_now = budget_tokens(head, budget)
        pages = -(-head.visible // size)  # the last one may be partly filled
        # nothing is dropped while everything fits, even where rounding down would lose a page
        k = torch.where(budget_now >= seen, pages, (budget_now // size).clamp_min(self.min_pages))
        first_page = first_seen(head) // size
        mask = empty_mask(head, self.gqa)
        page_of_token = torch.arange(head.tokens, device=head.key.device) // size
        bounds = _Bounds(head, size)
        for steps in tiles(head, columns=head.tokens // 4):  # token masks are bytes
            scores = bounds.scores(steps)
            if self.gqa == "group_shared":
                scores = scores.sum(dim=0, keepdim=True)
            page = torch.arange(scores.shape[-1], device=scores.device)
            absent = (page >= pages[steps, None]) | (page < first_page[steps, None])
            scores.masked_fill_(absent, float("-inf"))
            chosen = top_mask(scores, k[steps])
            stop = head.prompt_tokens + steps.stop
            part = spread(chosen, page_of_token[:stop])
            # only the newest page, and the oldest of a sliding window, can reach the unseen
            mask[:, steps, :stop] = _clip(part, head, steps)
        scan = vector_scan(head, pages - first_page, vectors_per_score=2)
        return Selection(share(mask, self.gqa, head.q_heads), None, scan)


def _clip(mask: Tensor, head: KvHeadTrace, steps: slice) -> Tensor:
    """Clear what a tile's steps do not see; cheap where only the newest tokens can be unseen."""
    stop = mask.shape[-1]
    if head.sliding_window is not None:
        return mask.logical_and_(seen_mask(head, steps, stop))
    lowest = head.prompt_tokens + steps.start
    mask[..., lowest:] &= seen_mask(head, steps, stop)[:, lowest:]
    return mask


class _Bounds:
    """Channel-wise minimum and maximum of every page, as each step knows them."""

    def __init__(self, head: KvHeadTrace, size: int) -> None:
        self._head = head
        self._size = size
        full = head.tokens // size
        by_page = head.key[: full * size].view(full, size, head.head_dim)
        self._bound = torch.cat([by_page.amax(1), by_page.amin(1)], dim=-1)  # (full, 2 head_dim)

    def scores(self, steps: slice) -> Tensor:
        """Return sum over channels of max(q min, q max): (q_heads, tile, pages of last step)."""
        head, size = self._head, self._size
        signed = _signed(head.query[:, steps])
        stop = head.prompt_tokens + steps.stop
        pages = -(-stop // size)
        scores = signed.new_empty(*signed.shape[:2], pages)
        full = min(pages, len(self._bound))
        scores[..., :full] = signed @ self._bound[:full].T
        # the page that is being filled is known only up to the step's own token
        first_open = (head.prompt_tokens + steps.start) // size
        for page in range(first_open, pages):
            begin = page * size
            now = slice(
                max(steps.start, begin - head.prompt_tokens),
                min(steps.stop, begin + size - head.prompt_tokens),
            )
            key = head.key[begin : head.prompt_tokens + now.stop]
            bound = torch.cat([key.cummax(0).values, key.cummin(0).values], dim=-1)
            bound = bound[head.prompt_tokens + now.start - begin :]  # (steps of the page, 2 dims)
            local = slice(now.start - steps.start, now.stop - steps.start)
            scores[:, local, page] = (signed[:, local] * bound).sum(-1)
        return scores


def _signed(query: Tensor) -> Tensor:
    """Return (positive part, negative part) side by side, to be multiplied with (max, min)."""
    return torch.cat([query.clamp_min(0), query.clamp_max(0)], dim=-1)
