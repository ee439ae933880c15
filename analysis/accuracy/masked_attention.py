"""Attention of many queries, each over its own tokens."""

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace

TILE_BYTES = 4 << 20
"""Float32 weights at a time: they stay in the cache between the products."""
SAFE_EXPONENT = 70.0
"""e ** 70 times ten million tokens is within float32, whose end is e ** 88."""


def attend(head: KvHeadTrace, mask: Tensor) -> Tensor:
    """Return the softmax attention over what a mask keeps, (q_heads, steps, head_dim).

    Args:
        head: The KV head.
        mask: (q_heads, steps, tokens) bool, at least one mark a row, none beyond what is seen.
    """
    output = torch.empty_like(head.query)
    query = head.query * head.softmax_scale
    rows = max(1, TILE_BYTES // (4 * head.tokens))
    for q_head in range(head.q_heads):
        for first in range(0, head.steps, rows):
            steps = slice(first, min(first + rows, head.steps))
            stop = head.prompt_tokens + steps.stop
            kept = mask[q_head, steps, :stop]
            scores = torch.mm(query[q_head, steps], head.key[:stop].T)
            if head.soft_cap is not None:
                scores.div_(head.soft_cap).tanh_().mul_(head.soft_cap)
            sink = None if head.sink_logit is None else head.sink_logit[q_head]
            weight, total = _weights(scores, kept, sink)
            output[q_head, steps] = torch.mm(weight, head.value[:stop]).div_(total)
    return output


def _weights(scores: Tensor, kept: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the softmax weights before their division, in place of `scores`, and their totals.

    A sink logit adds to the totals alone.

    Where no score is far from zero the usual subtraction of each row's maximum is left out: it
    only guards against overflow and costs as much as the powers.
    """
    low, high = scores.aminmax()
    extra = scores.new_full((1,), float("-inf")) if sink is None else sink.float().reshape(1)
    if not (low > -SAFE_EXPONENT and high < SAFE_EXPONENT and extra < SAFE_EXPONENT):
        scores.masked_fill_(~kept, float("-inf"))
        top = torch.maximum(scores.amax(-1, keepdim=True), extra)
        weight = scores.sub_(top).exp_()
        return weight, weight.sum(-1, keepdim=True) + (extra - top).exp()
    weight = scores.exp_().mul_(kept)
    return weight, weight.sum(-1, keepdim=True) + extra.exp()
