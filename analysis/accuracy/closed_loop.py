"""Decode steps of a model in which a policy decides what every layer reads: the closed loop.

The text's own next tokens are fed (teacher forcing), all steps in one forward pass. Step t of
layer l depends on the layer's keys up to t and on its own hidden state, which comes from layer
l - 1 at the same step; a policy's choice at step t depends on nothing later. So one pass over the
block, in which each layer's attention asks the policy and attends what it selected, is what
step-by-step decoding with a growing cache computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.accuracy.masked_attention import attend
from analysis.accuracy.prefill import Prefill, ids_tensor
from pimreplay.policies import Policy
from pimreplay.policies.dense import Dense
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from tracegen.capture.interface import Asked, attending


@dataclass(frozen=True, slots=True)
class Chooser:
    """What decides what is read: a policy at a budget, after the first layers, which are dense."""

    policy: Policy
    budget: Budget
    dense_layers: int = 2
    seed: int = 0


def decode_block(prompt: Prefill, step_ids: Sequence[int], chooser: Chooser) -> Tensor:
    """Return the logits after each of the steps, (steps, vocabulary) float32.

    Args:
        prompt: What came before the first step; it is not changed.
        step_ids: The token that each step feeds.
        chooser: What decides what each step reads.

    Raises:
        UserError: the policy refuses what it is given.
    """
    loop = _Loop(prompt, chooser)
    model = prompt.model
    with torch.inference_mode(), attending(model, loop.attend):
        result = model(
            input_ids=ids_tensor(model, step_ids), past_key_values=prompt.cache(), use_cache=True
        )
    logits: Tensor = result.logits[0]
    return logits.float()


class _Loop:
    """The attention function of one block."""

    def __init__(self, prompt: Prefill, chooser: Chooser) -> None:
        self._prompt = prompt
        self._chooser = chooser

    def attend(self, asked: Asked) -> Tensor:
        """Ask the policy about every KV head of a layer, and attend what it selects."""
        before = self._prompt.layers[asked.layer]
        new = asked.query.shape[1]
        key = torch.cat([before.key, asked.key[:, -new:]], dim=1).float()
        value = torch.cat([before.value, asked.value[:, -new:]], dim=1).float()
        group = len(asked.query) // len(key)
        sinks = asked.sink_logit
        output = torch.empty_like(asked.query)
        for kv_head in range(len(key)):
            heads = slice(kv_head * group, (kv_head + 1) * group)
            output[heads] = self._attend(
                KvHeadTrace(
                    layer=asked.layer,
                    kv_head=kv_head,
                    query=asked.query[heads].float(),
                    key=key[kv_head],
                    value=value[kv_head],
                    prompt_tokens=self._prompt.tokens,
                    softmax_scale=asked.softmax_scale,
                    soft_cap=asked.soft_cap,
                    sliding_window=asked.sliding_window,
                    prompt_query=before.query[heads].float(),
                    prompt_attention=before.attention[heads],
                    prompt_attention_decayed=before.attention_decayed[heads],
                    sink_logit=None if sinks is None else sinks[heads].float(),
                    seed=self._chooser.seed,
                )
            )
        return output

    def _attend(self, head: KvHeadTrace) -> Tensor:
        chooser = self._chooser
        policy = chooser.policy if head.layer >= chooser.dense_layers else Dense()
        selection = policy.select(head, chooser.budget)
        if selection.output is not None:
            return selection.output
        return attend(head, selection.mask)
