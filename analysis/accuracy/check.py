"""See that a model's steps may be fed as one block, before any figure is made from them."""

from collections.abc import Sequence
from typing import Any

import torch

from analysis.accuracy.closed_loop import Chooser, decode_block
from analysis.accuracy.prefill import ids_tensor, prefill
from pimreplay.policies.dense import Dense
from pimreplay.selection.budget import Budget
from tracegen.base.errors import UserError

MOST_NATS = 0.02
"""Mean divergence that rounding may cause: about 1e-4 in bfloat16, about 1e-9 in float32. A model
whose state a block loses is whole nats away."""


def refuse_unfaithful(model: Any, ids: Sequence[int]) -> None:
    """Compare a block of steps after a prompt with one pass over all tokens, full attention both.

    Models that carry a state beside keys and values may take a block as a new text; some normalise
    over all the tokens they are given.

    Args:
        model: The model.
        ids: Some tokens of text, at least two.

    Raises:
        UserError: the two differ.
    """
    half = len(ids) // 2
    with torch.inference_mode():
        whole = model(input_ids=ids_tensor(model, ids), use_cache=False).logits[0, half:].float()
    chooser = Chooser(Dense(), Budget.parse("1.0"), 0)
    block = decode_block(prefill(model, ids[:half]), ids[half:], chooser)
    whole, block = whole.log_softmax(-1), block.log_softmax(-1)
    nats = float((whole.exp() * (whole - block)).sum(-1).mean())
    if not nats <= MOST_NATS:
        raise UserError(
            f"{type(model).__name__}: steps fed as one block give other probabilities than the "
            f"whole text does ({nats:.2g} nats a token), so a policy inside it cannot be measured; "
            "choose a model whose only state is its cache of keys and values"
        )
