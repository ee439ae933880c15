"""A prompt read once by the model's own attention, from which many blocks of steps may start."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from tracegen.base.errors import UserError
from tracegen.capture.generation import input_device, last_only
from tracegen.capture.recording import Call, recording
from tracegen.trace.schema import PROMPT_QUERIES


@dataclass(frozen=True, slots=True)
class PromptLayer:
    """What one layer keeps of a prompt: the same as a trace does."""

    key: Tensor
    """(kv_heads, tokens, head_dim), in the model's type."""
    value: Tensor
    """The same shape."""
    query: Tensor
    """The last prompt queries, (q_heads, at most PROMPT_QUERIES, head_dim)."""
    attention: Tensor
    """Column sums of the prompt's attention weights, (q_heads, tokens) float32."""
    attention_decayed: Tensor
    """The same sums, decayed by 0.98 a query."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefill:
    """A prompt inside a model: its cache and what policies know of it."""

    model: Any
    tokens: int
    layers: dict[int, PromptLayer]
    _cache: Any = field(repr=False)

    def cache(self) -> Any:
        """Return a cache that holds the prompt and may grow without changing this one.

        Layers of keys and values never write into their tensors, they put longer ones in their
        place, so that a shallow copy does; other layers (states of recurrent models) are copied.
        """
        one = copy.copy(self._cache)
        one.layers = [
            copy.copy(layer) if isinstance(layer, DynamicLayer) else copy.deepcopy(layer)
            for layer in self._cache.layers
        ]
        return one


def prefill(model: Any, prompt_ids: Sequence[int]) -> Prefill:
    """Let a model read a prompt with its own, full attention.

    Args:
        model: A decoder that can be captured.
        prompt_ids: At least one token.

    Raises:
        UserError: the model's attention cannot be replaced, or it keeps no cache.
    """
    sink = _Sink()
    with torch.inference_mode(), recording(model, sink):
        last = last_only(model, len(prompt_ids))
        result = model(input_ids=ids_tensor(model, prompt_ids), use_cache=True, **last)
    cache = getattr(result, "past_key_values", None)
    if not hasattr(cache, "layers") or not sink.layers:
        raise UserError(
            f"{type(model).__name__}: keeps no cache of keys and values layer by layer, so no "
            "policy can choose from it"
        )
    return Prefill(model, len(prompt_ids), sink.layers, cache)


def ids_tensor(model: Any, ids: Sequence[int]) -> Tensor:
    """Return token ids on the model's device, (1, tokens)."""
    return torch.tensor([list(ids)], device=input_device(model))


class _Sink:
    def __init__(self) -> None:
        self.layers: dict[int, PromptLayer] = {}

    def record(self, call: Call) -> None:
        assert call.sums is not None, "a prompt is attended in tiles"
        self.layers[call.layer] = PromptLayer(
            key=call.key,
            value=call.value,
            query=call.query[:, -PROMPT_QUERIES:].clone(),
            attention=call.sums[0],
            attention_decayed=call.sums[1],
        )
