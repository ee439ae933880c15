"""Record what a model's attention reads while it attends as it always does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tracegen.base.errors import UserError
from tracegen.capture.interface import Asked, attending
from tracegen.capture.prompt_attention import attend_in_tiles


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the attention interface, batch of one.

    Shapes: query (q_heads, new_tokens, head_dim); key and value (kv_heads, cached_tokens,
    head_dim), of which a sliding cache may hold only the last ones; output as query. `sums` are the
    column sums of `prompt_attention`, None for a step that was not attended in tiles.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    sums: Sequence[Tensor] | None
    softmax_scale: float
    soft_cap: float | None
    sliding_window: int | None
    sink_logit: Tensor | None


class Sink(Protocol):
    """Where recorded calls go."""

    def record(self, call: Call) -> None:
        """Take one layer's call; its tensors may be views that the model goes on to overwrite."""


@contextmanager
def recording(model: Any, sink: Sink, stored: torch.dtype | None = None) -> Iterator[None]:
    """Hand every attention call of `model` inside the block to `sink`.

    Args:
        model: the model.
        sink: where the calls go.
        stored: type to whose numbers queries, and keys and values in the model's cache, are
            rounded before they are attended, so that what is stored is what was attended; None:
            the model's own.

    Raises:
        UserError: the model's attention does not go through the interface.
    """
    with attending(model, _Recorder(model, sink, stored).attend):
        yield


class _Recorder:
    """The attention function, bound to one model and one sink."""

    def __init__(self, model: Any, sink: Sink, stored: torch.dtype | None) -> None:
        self._name = type(model).__name__
        self._sink = sink
        self._stored = stored
        self._sdpa = bool(getattr(model, "_supports_sdpa", False))

    def attend(self, asked: Asked) -> Tensor:
        """Attend as the model would have, hand the call to the sink, return the output."""
        new, cached = asked.query.shape[1], asked.key.shape[1]
        if new not in (1, cached):
            raise UserError(f"{self._name}: a prompt in several parts cannot be captured")
        if self._stored not in (None, asked.query.dtype):
            asked = _rounded(asked, self._stored)
        sums = None
        plain = asked.soft_cap is None and asked.sink_logit is None
        if new == 1 < cached and plain and self._sdpa:
            output = _step(asked)
        else:
            output, *sums = attend_in_tiles(
                asked.query,
                asked.key,
                asked.value,
                asked.softmax_scale,
                asked.soft_cap,
                asked.sliding_window,
                asked.sink_logit,
            )
        self._sink.record(
            Call(
                asked.layer,
                asked.query,
                asked.key,
                asked.value,
                output,
                sums,
                asked.softmax_scale,
                asked.soft_cap,
                asked.sliding_window,
                asked.sink_logit,
            )
        )
        return output


def _rounded(asked: Asked, stored: torch.dtype) -> Asked:
    """Round what is new to the numbers of a type; in the cache in place, which later steps read."""
    for cached in (asked.key, asked.value):
        new = cached[:, -asked.query.shape[1] :]
        new.copy_(new.to(stored))
    return replace(asked, query=asked.query.to(stored).to(asked.query.dtype))


def _step(asked: Asked) -> Tensor:
    """Return the attention output of one new token, (q_heads, 1, head_dim)."""
    key, value, window = asked.key[None], asked.value[None], asked.sliding_window
    if window is not None and key.shape[2] > window:
        key, value = key[:, :, -window:], value[:, :, -window:]
    output: Tensor = sdpa_attention_forward(
        asked.module,
        asked.query[None],
        key,
        value,
        None,
        scaling=asked.softmax_scale,
        is_causal=True,
    )[0]
    return output[0].transpose(0, 1)
