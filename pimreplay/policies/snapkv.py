"""SnapKV: the prompt compressed once, by the attention of its own last queries.

Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", NeurIPS 2024
(arXiv 2404.14469, section 4); behaviour as FasterDecoding/SnapKV @ e216ddc,
snapkv/monkeypatch/snapkv_utils.py.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from pimreplay.selection.top_k import Gqa, share, top_mask
from pimreplay.selection.visibility import seen_mask
from pimreplay.variants import at_least
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class SnapKV:
    """Keep `budget` tokens of the prompt, its last `window` among them, and all decoded tokens.

    The budget is the capacity of the compressed prompt; a ratio is taken of the prompt. Decoded
    tokens come on top, as in the paper. Nothing is dropped where the prompt is not above it.
    """

    window: int = 32
    """Last prompt queries that vote, and last prompt tokens that are always kept."""
    kernel: int = 5
    """Votes are pooled over so many neighbouring tokens; odd."""
    pooling: Literal["avg", "max"] = "avg"
    gqa: Gqa = "per_query_head"
    """`group_shared` pools the votes of the whole group."""

    def __post_init__(self) -> None:
        at_least(self, window=1, kernel=1)
        if self.kernel % 2 == 0:
            raise UserError(f"snapkv: kernel={self.kernel} is even; give an odd number")

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the compressed prompt and the decoded tokens.

        Raises:
            UserError: too few prompt queries in the trace, or a budget inside the window.
        """
        prompt = head.prompt_tokens
        capacity = int(budget.tokens(torch.tensor([prompt]))[0])
        seen = seen_mask(head, slice(0, head.steps))
        if capacity >= prompt:
            mask = seen.expand(head.q_heads, -1, -1).clone()
            return Selection(mask, None, overhead(head))
        if capacity <= self.window:
            raise UserError(
                f"policy snapkv: a budget of {capacity} tokens leaves nothing beside the window "
                f"of {self.window}; give more, or a smaller window=..."
            )
        votes = self._votes(head)
        if self.gqa == "group_shared":
            votes = votes.sum(0, keepdim=True)
        best = top_mask(votes[:, None], torch.tensor([capacity - self.window]))[:, 0]
        kept = torch.ones((len(votes), head.tokens), dtype=torch.bool, device=head.key.device)
        kept[:, : prompt - self.window] = best
        mask = kept[:, None] & seen[None]
        return Selection(share(mask, self.gqa, head.q_heads), None, overhead(head))

    def _votes(self, head: KvHeadTrace) -> Tensor:
        """Return the pooled attention that each prompt token before the window got.

        (q_heads, prompt_tokens - window).
        """
        given = head.prompt_query
        if given is None or given.shape[1] < self.window:
            found = "none" if given is None else str(given.shape[1])
            raise UserError(
                f"policy snapkv: layer {head.layer}, KV head {head.kv_head}: it needs the last "
                f"{self.window} prompt queries and the trace holds {found}; capture the model "
                "again with `tracegen capture`, which stores the last 128 (imported arrays have "
                "none), or give a smaller window=..."
            )
        prompt, window = head.prompt_tokens, self.window
        query = given[:, given.shape[1] - window :]
        scores = head.logits(query @ head.key[:prompt].T)
        at = torch.arange(prompt - window, prompt, device=scores.device)[:, None]
        token = torch.arange(prompt, device=scores.device)[None]
        hidden = token > at
        if head.sliding_window is not None:
            hidden |= token <= at - head.sliding_window
        weights = head.softmax(scores.masked_fill_(hidden, float("-inf")))
        votes = weights[..., : prompt - window].sum(dim=1)
        pool = avg_pool1d if self.pooling == "avg" else max_pool1d
        return pool(votes, kernel_size=self.kernel, padding=self.kernel // 2, stride=1)
