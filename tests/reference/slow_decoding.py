"""The slow twin of a closed loop: token by token, with a cache that grows.

The model decodes as it always does, one token a call. At each call each layer's attention is
computed here, from keys and values kept in lists: the policy is asked about all steps until now and
what it says of the newest one is attended, query head by query head. What a policy needs of the
prompt comes from the model's own attention weights.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget

NAME = "stepwise_twin"


class Stepwise:
    """Decodes under a policy."""

    def __init__(self, model: Any, policy: Any, budget: str, dense_layers: int) -> None:
        self.model, self.policy = model, policy
        self.budget, self.dense_layers = Budget.parse(budget), dense_layers
        self.query: dict[int, Tensor] = {}
        self.key: dict[int, Tensor] = {}
        self.value: dict[int, Tensor] = {}
        self.weights: tuple[Tensor, ...] = ()
        self.prompt_tokens = 0

    def logits(self, ids: list[int], prompt_tokens: int) -> Tensor:
        """Return the logits after each token from `prompt_tokens` on, (steps, vocabulary)."""
        model, self.prompt_tokens = self.model, prompt_tokens
        prompt = torch.tensor([ids[:prompt_tokens]])
        model.set_attn_implementation("eager")
        with torch.inference_mode():
            self.weights = model(prompt, output_attentions=True, use_cache=False).attentions
            AttentionInterface.register(NAME, self.attend)
            AttentionMaskInterface.register(NAME, lambda **_: None)
            model.set_attn_implementation(NAME)
            try:
                cache = model(prompt, use_cache=True).past_key_values
                rows = []
                for token in ids[prompt_tokens:]:
                    result = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
                    rows.append(result.logits[0, -1])
            finally:
                model.set_attn_implementation("eager")
                AttentionInterface._global_mapping.pop(NAME)
                AttentionMaskInterface._global_mapping.pop(NAME)
        return torch.stack(rows)

    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any,
        scaling: float | None = None,
        softcap: float | None = None,
        sliding_window: int | None = None,
        s_aux: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        layer, new = module.layer_idx, query.shape[2]
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if new > 1:
            self.query[layer], self.key[layer], self.value[layer] = query[0], key[0], value[0]
        else:
            for kept, one in ((self.query, query), (self.key, key), (self.value, value)):
                kept[layer] = torch.cat([kept[layer], one[0, :, -1:]], dim=1)
        tokens = self.key[layer].shape[1]
        # attention of this call's tokens over all that each sees
        token = torch.arange(tokens)
        position = torch.arange(tokens - new, tokens)[:, None]
        seen = token <= position
        if sliding_window is not None:
            seen &= token > position - sliding_window
        q_heads, kv_heads = query.shape[1], key.shape[1]
        group = q_heads // kv_heads
        output = torch.empty_like(query[0])
        for q_head in range(q_heads):
            kv_head = q_head // group
            keys, values = self.key[layer][kv_head], self.value[layer][kv_head]
            kept = seen
            own = None
            if new == 1 and layer >= self.dense_layers:
                head = self.head(layer, kv_head, group, scale, softcap, sliding_window, s_aux)
                selection = self.policy.select(head, self.budget)
                kept = selection.mask[q_head % group, -1:]
                if selection.output is not None:
                    own = selection.output[q_head % group, -1:]
            scores = query[0, q_head] @ keys.T * scale
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            weights = scores.masked_fill(~kept, float("-inf"))
            if s_aux is not None:
                weights = torch.cat([weights, s_aux[q_head].expand(new, 1)], dim=1)
            weights = weights.softmax(-1)[:, :tokens]
            output[q_head] = weights @ values if own is None else own
        return output[None].transpose(1, 2), None

    def head(
        self,
        layer: int,
        kv_head: int,
        group: int,
        scale: float,
        soft_cap: float | None,
        sliding_window: int | None,
        sinks: Tensor | None,
    ) -> KvHeadTrace:
        """Return what a trace of all steps until now would hold of one KV head."""
        heads = slice(kv_head * group, (kv_head + 1) * group)
        query, prompt = self.query[layer][heads], self.prompt_tokens
        weights = self.weights[layer][0, heads]
        decay = 0.98 ** torch.arange(prompt - 1, -1, -1)
        return KvHeadTrace(
            layer=layer,
            kv_head=kv_head,
            query=query[:, prompt:],
            key=self.key[layer][kv_head],
            value=self.value[layer][kv_head],
            prompt_tokens=prompt,
            softmax_scale=scale,
            soft_cap=soft_cap,
            sliding_window=sliding_window,
            sink_logit=None if sinks is None else sinks[heads],
            prompt_query=query[:, max(0, prompt - 128) : prompt],
            prompt_attention=weights.sum(1),
            prompt_attention_decayed=(weights * decay[:, None]).sum(1),
        )
