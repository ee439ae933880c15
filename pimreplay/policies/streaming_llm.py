"""StreamingLLM: the first tokens (attention sinks) and the most recent ones.

Xiao et al., "Efficient Streaming Language Models with Attention Sinks", ICLR 2024
(arXiv 2309.17453, section 3); behaviour as mit-han-lab/streaming-llm @ 2e50426,
streaming_llm/kv_cache.py. The original re-numbers positions inside the cache; a captured trace has
its keys rotated already, so the choice of tokens is exact and the attention output is that of the
original positions.
"""

from dataclasses import dataclass

import torch

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from pimreplay.selection.visibility import budget_tokens, first_seen
from pimreplay.variants import at_least


@dataclass(frozen=True, slots=True)
class StreamingLLM:
    """Keep `sinks` first tokens and the latest others; both count inside the budget."""

    sinks: int = 4
    """First tokens kept for ever; at most the budget less the current token."""

    def __post_init__(self) -> None:
        at_least(self, sinks=0)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return sinks and recent tokens; the same for every query head."""
        now = budget_tokens(head, budget)
        low = first_seen(head)
        sinks = torch.minimum(torch.full_like(now, self.sinks), now - 1)
        token = torch.arange(head.tokens, device=head.key.device)
        visible = head.visible[:, None]
        recent = (token >= visible - (now - sinks)[:, None]) & (token < visible)
        sink = (token >= low[:, None]) & (token < (low + sinks)[:, None])
        mask = (recent | sink)[None].expand(head.q_heads, -1, -1).clone()
        return Selection(mask, None, overhead(head))
