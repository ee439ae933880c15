"""Rotary embeddings that change with the length of the sequence, as a trace's manifest states."""

from collections.abc import Mapping
from typing import Any


def switch_tokens(rope: Mapping[str, Any], prompt_tokens: int, tokens: int) -> int | None:
    """Return the length at which a longrope embedding changes while decoding; None: it does not.

    Up to its original context such a model rotates by one set of factors, beyond it by another
    (Ding et al., LongRoPE, arXiv 2402.13753): keys cached before the switch and queries after it
    do not belong together. `generate` of transformers computes the whole cache again there.
    """
    stated = rope.get("rope_parameters") or rope.get("rope_scaling") or {}
    layers = [one for one in stated.values() if isinstance(one, Mapping)] or [stated]
    for one in layers:
        original = one.get("original_max_position_embeddings")
        longrope = one.get("rope_type", one.get("type")) in ("longrope", "su")
        if longrope and isinstance(original, int) and prompt_tokens <= original < tokens:
            return original
    return None
