"""Heads of a trace, made by hand or at random."""

from collections.abc import Callable

import pytest
import torch

from pimreplay.records import KvHeadTrace


def head_of(
    query: object,
    key: object,
    prompt_tokens: int,
    value: object | None = None,
    **rest: object,
) -> KvHeadTrace:
    """Make a head from nested lists: query (q_heads, steps, head_dim), key (tokens, head_dim)."""
    key = torch.as_tensor(key, dtype=torch.float32)
    settings = {
        "layer": 0,
        "kv_head": 0,
        "softmax_scale": key.shape[1] ** -0.5,
        "soft_cap": None,
        "sliding_window": None,
    } | rest
    return KvHeadTrace(
        query=torch.as_tensor(query, dtype=torch.float32),
        key=key,
        value=torch.as_tensor(key if value is None else value, dtype=torch.float32),
        prompt_tokens=prompt_tokens,
        **settings,
    )


def random_head_of(
    q_heads: int = 2,
    prompt_tokens: int = 150,
    steps: int = 140,
    head_dim: int = 16,
    seed: int = 0,
    **rest: object,
) -> KvHeadTrace:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    return head_of(
        normal(q_heads, steps, head_dim),
        normal(prompt_tokens + steps, head_dim),
        prompt_tokens,
        normal(prompt_tokens + steps, head_dim),
        prompt_query=normal(q_heads, min(128, prompt_tokens), head_dim),
        prompt_attention=torch.rand((q_heads, prompt_tokens), generator=random),
        prompt_attention_decayed=torch.rand((q_heads, prompt_tokens), generator=random),
        **rest,
    )


@pytest.fixture
def make_head() -> Callable[..., KvHeadTrace]:
    return head_of


@pytest.fixture
def random_head() -> Callable[..., KvHeadTrace]:
    return random_head_of
