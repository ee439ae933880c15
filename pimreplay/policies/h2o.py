"""H2O: the tokens that gathered most attention so far, and the recent ones; evicted for good.

Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language
Models", NeurIPS 2023 (arXiv 2306.14048, algorithm 1); behaviour as FMInference/H2O @ ac75c2a,
h2o_hf/utils_hh/modify_llama.py, except that the one token just leaving the recent window competes
at once (there it is unattended for one step).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from pimreplay.selection.top_k import Gqa, empty_mask, share
from pimreplay.selection.visibility import budget_tokens, first_seen, logits, tiles
from pimreplay.variants import at_least, at_most
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class H2O:
    """Keep the last tokens and the heaviest of the others; both count inside the budget.

    A token's weight is the sum of the attention it got from every prompt query (full attention, as
    the prefill computes it) and from every decode step since, over what was kept then.
    """

    recent_ratio: float = 0.5
    """Share of the budget that the most recent tokens get, the current one among them."""
    gqa: Gqa = "per_query_head"
    """`group_shared` evicts for the whole group by the summed weights."""

    def __post_init__(self) -> None:
        at_least(self, recent_ratio=0)
        at_most(self, recent_ratio=1)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return what is still in the cache at each step.

        Raises:
            UserError: the trace has no sums of the prompt's attention.
        """
        if head.prompt_attention is None:
            raise UserError(
                f"policy h2o: layer {head.layer}, KV head {head.kv_head}: the trace holds no sums "
                "of the prompt's attention weights; capture the model again with "
                "`tracegen capture`, which stores them (imported arrays have none)"
            )
        now = budget_tokens(head, budget)
        recent = (now.double() * self.recent_ratio).long().clamp_min(1)
        heads = 1 if self.gqa == "group_shared" else head.q_heads
        weight = torch.zeros((heads, head.tokens), device=head.key.device)
        prompt = head.prompt_attention
        weight[:, : head.prompt_tokens] = prompt if heads > 1 else prompt.sum(0, keepdim=True)
        kept = torch.zeros((heads, head.tokens), dtype=torch.bool, device=head.key.device)
        kept[:, : head.prompt_tokens] = True
        mask = empty_mask(head, self.gqa)
        low = first_seen(head).tolist()
        limits = zip(low, head.visible.tolist(), now.tolist(), recent.tolist(), strict=True)
        bounds = list(limits)
        for steps in tiles(head):
            scores = logits(head, steps)
            for step in range(steps.start, steps.stop):
                first, visible, tokens, window = bounds[step]
                kept[:, visible - 1] = True
                kept[:, :first] = False
                _evict(kept, weight, visible, tokens, window)
                mask[:, step] = kept
                seen = scores[:, step - steps.start, :visible]
                attention = head.softmax(seen.masked_fill(~kept[:, :visible], float("-inf")))
                weight[:, :visible] += (
                    attention if heads > 1 or head.q_heads == 1 else attention.sum(0, keepdim=True)
                )
        return Selection(share(mask, self.gqa, head.q_heads), None, overhead(head))


def _evict(kept: Tensor, weight: Tensor, visible: int, budget: int, recent: int) -> None:
    """Drop the lightest tokens before the recent window until the budget holds, in place."""
    surplus = kept.sum(dim=1, keepdim=True) - budget
    most = int(surplus.max())
    if most <= 0:
        return
    old = kept[:, : visible - recent]
    candidate = weight[:, : visible - recent].masked_fill(~old, float("inf"))
    drop = candidate.topk(most, dim=-1, largest=False).indices
    # a sliding window may have taken more from one head than from another
    due = torch.arange(most, device=kept.device) < surplus
    old.scatter_(1, drop, old.gather(1, drop) & ~due)
