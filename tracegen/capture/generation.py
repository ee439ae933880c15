"""Greedy decoding through a model's cache, one token a step."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tracegen.base.errors import UserError
from tracegen.capture.growing_cache import reserve


def generate(
    model: Any, prompt_ids: Sequence[int], steps: int, forced_ids: Sequence[int] | None = None
) -> tuple[list[int], list[float]]:
    """Decode `steps` tokens through the model's cache.

    Returns:
        The token ids, prompt and decoded, and each decoded token's log-probability.
    """
    with torch.inference_mode():
        device = input_device(model)
        ids = torch.tensor([list(prompt_ids)], device=device)
        cache = None
        decoded, log_probs = [], []
        for step in range(steps + 1):
            last = last_only(model, ids.shape[1])
            result = model(input_ids=ids, past_key_values=cache, use_cache=True, **last)
            cache = getattr(result, "past_key_values", None)
            if cache is None:
                raise UserError(
                    f"{type(model).__name__}: keeps no cache of keys and values (KV cache), so it "
                    "cannot be captured"
                )
            if step == steps:
                break
            if step == 0:
                reserve(cache, steps)
            distribution = torch.log_softmax(result.logits[0, -1].float(), dim=-1)
            ids = (
                distribution.argmax().reshape(1, 1)
                if forced_ids is None
                else torch.tensor([[forced_ids[step]]], device=device)
            )
            decoded.append(ids)
            log_probs.append(distribution[ids[0, 0]])
        chosen = torch.cat(decoded, dim=1)[0].tolist()
        return [*prompt_ids, *chosen], torch.stack(log_probs).tolist()


def input_device(model: Any) -> torch.device:
    """Return where a model takes its token ids, also where its embedding is kept on the disk."""
    device: torch.device = model.get_input_embeddings().weight.device
    return torch.device("cpu") if device.type == "meta" else device


def last_only(model: Any, tokens: int) -> dict[str, Tensor]:
    """Return the argument that spares the logits of all but the last token, where there is one.

    An index and not a count: given a count, layers that share their keys and values (Gemma 4)
    attend from the last token only, and nothing would be known of how the prompt attends in them.
    """
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return {}
    return {"logits_to_keep": torch.tensor([tokens - 1])}
