"""SparQ: approximate scores from the largest query components, then exact attention on the best.

Ribar et al., "SparQ Attention: Bandwidth-Efficient LLM Inference", ICML 2024 (arXiv 2312.04985,
section 3); behaviour as graphcore-research/llm-inference-research @ ead9b6a,
llminference/methods/ann_attention.py (their `k` is our budget less the current token).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace, Overhead, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.masked_attention import attend, log_sum_exp, positions
from pimreplay.selection.overhead import overhead, stored_bytes
from pimreplay.selection.top_k import top_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, hide_unseen, tiles
from pimreplay.variants import at_least, at_most
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class SparQ:
    """Keep the current token, a local window and the best others, `budget` tokens in all.

    The choice is one for the whole group: components by |q| summed over the group, tokens by the
    approximate scores summed over it. The rest of the weight goes to the mean value (the policy
    therefore gives its own attention output), unless `reallocate` is off.
    """

    rank: int = 16
    """Query components that the approximate scores use."""
    local_ratio: float = 0.25
    """Share of the budget that is the window right before the current token."""
    reallocate: bool = True
    """Give the weight that is not selected to the mean of all values."""

    def __post_init__(self) -> None:
        at_least(self, rank=1, local_ratio=0)
        at_most(self, local_ratio=1)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the window and the best tokens of every step, and the attention output."""
        if self.rank > head.head_dim:
            raise UserError(
                f"policy sparq: rank={self.rank} is more than the head_dim of {head.head_dim}; "
                "give at most that"
            )
        k = budget_tokens(head, budget)
        local = torch.minimum((k.double() * self.local_ratio).long(), k - 1)
        projected = self._projected_query(head)
        group = torch.zeros((1, head.steps, head.tokens), dtype=torch.bool, device=head.key.device)
        output = torch.empty_like(head.query) if self.reallocate else None
        mean = _mean_value(head) if self.reallocate else None
        for steps in tiles(head):
            stop = head.prompt_tokens + steps.stop
            scores = projected[:, steps] @ head.key[:stop].T  # (q_heads, tile, stop)
            hide_unseen(scores, head, steps)
            summed = scores.sum(dim=0)
            _force_window(summed, head, steps, local[steps])
            part = top_mask(summed[None], k[steps])
            group[:, steps, :stop] = part
            if output is not None and mean is not None:
                output[:, steps] = _output(head, steps, scores, part[0], mean)
        mask = group.expand(head.q_heads, -1, -1).clone()
        return Selection(mask, None, self._overhead(head), output)

    def _projected_query(self, head: KvHeadTrace) -> Tensor:
        """Return the queries with all but `rank` components zero, scaled as in eq. 6's root.

        The scale sqrt(head_dim * share of |q| kept) estimates the spread of the true logits.
        """
        size = head.query.abs()
        best = size.sum(dim=0).topk(self.rank, dim=-1).indices  # (steps, rank)
        kept = torch.zeros_like(head.query[0]).scatter_(-1, best, 1.0)
        share = (size * kept).sum(-1) / size.sum(-1).clamp_min(1e-30)
        temperature = (share * head.head_dim).sqrt().clamp_min(1e-30)
        return head.query * kept / temperature[..., None]

    def _overhead(self, head: KvHeadTrace) -> Overhead:
        seen = head.visible - first_seen(head)
        scanned = seen * self.rank  # components of the channel-major copy of the keys
        return overhead(
            head,
            scored_vectors=-(-scanned // head.head_dim) * head.q_heads,
            scored_bytes=stored_bytes(head, scanned),
        )


def _force_window(scores: Tensor, head: KvHeadTrace, steps: slice, local: Tensor) -> None:
    """Give the current token and the `local` ones before it the highest score, in place."""
    visible = head.visible[steps]
    first = int((visible - local - 1).min().clamp_min(0)) if len(local) else 0
    token = torch.arange(first, scores.shape[-1], device=scores.device)
    window = (token < visible[:, None]) & (token >= (visible - 1 - local)[:, None])
    window &= token >= first_seen(head)[steps, None]
    scores[:, first:].masked_fill_(window, float("inf"))


def _mean_value(head: KvHeadTrace) -> Tensor:
    """Return the mean of the values that each step sees: (steps, head_dim)."""
    low, high = first_seen(head), head.visible
    total = _sum_before(head.value, high) - _sum_before(head.value, low)
    return (total / (high - low)[:, None]).float()


def _sum_before(value: Tensor, stop: Tensor) -> Tensor:
    """Return the sum of the first `stop` rows for each of the never falling stops."""
    if len(stop) == 0:
        return value.new_zeros((0, value.shape[1]))
    first, last = int(stop[0]), int(stop[-1])
    begin = value[:first].sum(0, dtype=torch.float64)
    rest = torch.cat([torch.zeros_like(value[:1]), value[first:last]]).double().cumsum(0)
    return begin + rest[stop - first]


def _output(head: KvHeadTrace, steps: slice, scores: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    """Return alpha * attention over the mask + (1 - alpha) * mean value, for one tile.

    alpha is the approximate softmax weight of what is selected. Beside a sink all of it shrinks:
    the tokens' weight is taken as that of the selected ones, which is exact, over alpha.
    """
    index, real = positions(mask)
    chosen = scores.gather(-1, index.expand(head.q_heads, -1, -1))
    chosen.masked_fill_(~real, float("-inf"))
    alpha = torch.exp(log_sum_exp(chosen) - log_sum_exp(scores))[..., None]
    attended, total = attend(head, steps, mask)
    mixed = alpha * attended + (1 - alpha) * mean[steps]
    return mixed * torch.sigmoid(total[..., None] - alpha.log() - head.sinks(scores))
