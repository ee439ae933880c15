"""Exact top-k: the tokens with the highest attention weights, an oracle for token-wise sparsity.

Nobody can run it cheaper than dense attention, since every key must be scored first: that scan is
reported as overhead. It bounds what any policy of the same budget can keep.
"""

from dataclasses import dataclass

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import vector_scan
from pimreplay.selection.top_k import Gqa, empty_mask, share, top_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, hide_unseen, logits, tiles


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the best `budget` tokens of each step; everything counts inside the budget."""

    gqa: Gqa = "per_query_head"
    """`group_shared` ranks by the attention weights summed over the group."""

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the best tokens of every step."""
        k = budget_tokens(head, budget)
        mask = empty_mask(head, self.gqa)
        for steps in tiles(head):
            scores = logits(head, steps)
            if self.gqa == "group_shared":
                scores = head.softmax(scores).sum(dim=0, keepdim=True)
                hide_unseen(scores, head, steps)
            mask[:, steps, : scores.shape[-1]] = top_mask(scores, k[steps])
        scan = vector_scan(head, head.visible - first_seen(head))
        return Selection(share(mask, self.gqa, head.q_heads), None, scan)
