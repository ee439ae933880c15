"""Let a function of ours attend in a model's place, through transformers' attention interface.

`attending(model, attend)` registers one attention function and one mask function, lets the model
use them inside a `with` block and removes both afterwards. No model is patched: each decoder whose
attention goes through `ALL_ATTENTION_FUNCTIONS` is served by the same code.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from tracegen.base.errors import UserError
from tracegen.capture.prompt_attention import visible_from

NAME = "tracegen_attending"
_PADDED, _NOT_CAUSAL = -1, -2
# Tensors that models hand to the interface and that change nothing about the attention itself.
_HARMLESS = frozenset({"position_ids", "cache_position", "position_embeddings", "token_type_ids"})
SINK = "s_aux"
"""Name under which transformers hands over the sink logits of a layer, one a query head."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one layer asks of the attention interface, batch of one.

    Shapes: query (q_heads, new_tokens, head_dim); key and value (kv_heads, cached_tokens,
    head_dim), of which a sliding cache may hold only the last ones.
    """

    module: Any
    """The attention module that asks."""
    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    softmax_scale: float
    soft_cap: float | None
    sliding_window: int | None
    sink_logit: Tensor | None
    """Logits that join the softmax beside the tokens' and have no value, (q_heads,)."""


Attend = Callable[[Asked], Tensor]
"""Returns the attention output, shaped as the query."""


@contextmanager
def attending(model: Any, attend: Attend) -> Iterator[None]:
    """Answer every attention call of `model` inside the block by `attend`.

    Raises:
        UserError: the model's attention does not go through the interface.
    """
    refuse_by_configuration(model)
    before = [(one, one._attn_implementation) for one in _configurations(model)]
    AttentionInterface.register(NAME, _Adapter(model, attend))
    AttentionMaskInterface.register(NAME, encode_mask)
    try:
        model.set_attn_implementation(NAME)
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation_internal = implementation
        AttentionInterface._global_mapping.pop(NAME, None)
        AttentionMaskInterface._global_mapping.pop(NAME, None)


def refuse_by_configuration(model: Any) -> None:
    """Refuse models whose attention cannot be captured, as far as their configuration tells.

    Raises:
        UserError: says which model and why.
    """
    name = type(model).__name__
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "kv_lora_rank", None):
        raise UserError(
            f"{name}: multi-head latent attention caches one compressed vector a token and no keys "
            "and values a head; only models with a cache of keys and values can be captured"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(f"{name}: an encoder-decoder; only decoders can be captured")
    if "chunked_attention" in (getattr(config, "layer_types", None) or ()):
        raise UserError(f"{name}: chunked attention cannot be captured; a trace knows windows only")
    if not getattr(type(model), "_can_set_attn_implementation", lambda: False)():
        raise UserError(
            f"{name}: its attention does not go through transformers' attention interface, so it "
            "cannot be captured"
        )


def encode_mask(
    *,
    q_length: int,
    kv_length: int,
    mask_function: Callable[..., Tensor],
    q_offset: int = 0,
    kv_offset: int = 0,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    **_: Any,
) -> Tensor:
    """Stand in for a mask: return the layer's window (0: none) in one number.

    A materialised mask would be prompt x prompt. The pattern that the model asks for is compared
    with the one that the number stands for on the first, middle and last rows; one that is neither
    causal nor a causal sliding window becomes a negative number, refused if a layer uses it
    (some models also make masks that no layer uses).
    """
    window = local_size or 0
    code = window
    if attention_mask is not None and not bool(attention_mask.all()):
        code = _PADDED
    elif q_length > 1:
        rows = torch.tensor([0, q_length // 2, q_length - 1])[:, None] + int(q_offset)
        tokens = torch.arange(kv_length)[None, :] + int(kv_offset)
        expected = (tokens <= rows) & (tokens >= visible_from(rows, window or None))
        # Patterns broadcast over (batch, heads, queries, tokens).
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.int64)
        try:
            asked = mask_function(zero, zero, rows[None, None], tokens[None, None])
            same = torch.equal(asked.expand(1, 1, *expected.shape)[0, 0].bool().cpu(), expected)
        except (RuntimeError, IndexError, TypeError):
            same = False
        code = window if same else _NOT_CAUSAL
    return torch.full((1, 1, 1, 1), code, dtype=torch.int64)


def _window(code: int, name: str) -> int | None:
    """Return the window that `encode_mask` encoded, None for none."""
    if code == _PADDED:
        raise UserError(f"{name}: a padded prompt cannot be captured; give one without padding")
    if code == _NOT_CAUSAL:
        raise UserError(
            f"{name}: an attention mask that is neither causal nor a causal sliding window cannot "
            "be captured"
        )
    return code or None


class _Adapter:
    """The function that transformers calls: it checks a call and passes it on."""

    def __init__(self, model: Any, attend: Attend) -> None:
        self._name = type(model).__name__
        self._attend = attend

    def __call__(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        *,
        scaling: float | None = None,
        softcap: float | None = None,
        sliding_window: int | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """Return (output, None) as transformers wants it."""
        layer = getattr(module, "layer_idx", None)
        if layer is None or getattr(module, "is_cross_attention", False):
            raise UserError(f"{self._name}: attention outside the decoder's own cannot be captured")
        self._refuse(query, key, value, others)
        if attention_mask is None:
            window = sliding_window
        elif attention_mask.shape == (1, 1, 1, 1) and attention_mask.dtype == torch.int64:
            window = _window(int(attention_mask), self._name)
        else:
            raise UserError(
                f"{self._name}: it builds an attention mask of its own, so it cannot be captured"
            )
        scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
        sink = others.get(SINK)
        asked = Asked(module, layer, query[0], key[0], value[0], scale, softcap, window, sink)
        return self._attend(asked)[None].transpose(1, 2), None

    def _refuse(self, query: Tensor, key: Tensor, value: Tensor, others: dict[str, Any]) -> None:
        if query.shape[0] != 1:
            raise UserError(f"{self._name}: a batch cannot be captured; give one prompt")
        if value.shape != key.shape or query.shape[-1] != key.shape[-1]:
            raise UserError(
                f"{self._name}: keys of {key.shape[-1]} and values of {value.shape[-1]} elements; "
                "only models whose keys and values have one size can be captured"
            )
        if others.get("is_causal") is False:
            raise UserError(f"{self._name}: attention that is not causal cannot be captured")
        strange = [
            name
            for name, value in others.items()
            if isinstance(value, Tensor) and name not in _HARMLESS | {SINK}
        ]
        if strange:
            raise UserError(
                f"{self._name}: its attention also depends on {', '.join(strange)}, which a trace "
                "does not hold, so it cannot be captured"
            )


def _configurations(model: Any) -> list[Any]:
    found = {id(one.config): one.config for one in model.modules() if hasattr(one, "config")}
    found |= {id(one): one for one in (model.config, model.config.get_text_config(decoder=True))}
    return list(found.values())
