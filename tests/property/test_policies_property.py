"""Properties of selections and placements over shapes nobody picked by hand."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimreplay.layouts import load_layout
from pimreplay.placement.blocks import touched_blocks
from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget

WITHIN_BUDGET = (
    # policies whose whole selection counts inside the budget, at least beyond a few tokens
    "topk",
    "topk:gqa=group_shared",
    "sparq:rank=3",
    "streaming_llm:sinks=2",
    "h2o",
    "pqcache:bits=2,sinks=3",
    "magicpig:bits=3,tables=9,local_tokens=2,sinks=1,limit=budget",
)


@st.composite
def heads(draw: st.DrawFn) -> KvHeadTrace:
    q_heads = draw(st.integers(1, 3))
    prompt = draw(st.integers(1, 60))
    steps = draw(st.integers(1, 30))
    head_dim = draw(st.sampled_from([4, 8]))
    window = draw(st.one_of(st.none(), st.integers(1, 40)))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    return KvHeadTrace(
        layer=0,
        kv_head=0,
        query=normal(q_heads, steps, head_dim),
        key=normal(prompt + steps, head_dim),
        value=normal(prompt + steps, head_dim),
        prompt_tokens=prompt,
        softmax_scale=head_dim**-0.5,
        soft_cap=draw(st.sampled_from([None, 3.0])),
        sliding_window=window,
        prompt_query=normal(q_heads, min(prompt, 128), head_dim),
        prompt_attention=torch.rand((q_heads, prompt), generator=random),
    )


@settings(max_examples=25, deadline=None)
@given(head=heads(), policy=st.sampled_from(WITHIN_BUDGET), budget=st.integers(1, 40))
def test_what_counts_inside_the_budget_stays_inside(
    head: KvHeadTrace, policy: str, budget: int
) -> None:
    mask = load_policy(policy).select(head, Budget(count_tokens=budget)).mask
    static = 0
    if policy.startswith("magicpig"):
        static = 3 + head.steps  # sinks, the prompt's end and decoded tokens are never dropped
    assert int(mask.sum(-1).max()) <= max(budget, static)
    if head.sliding_window is None and not policy.startswith(("magicpig", "h2o")):
        # and it is used in full as soon as the context allows
        assert (mask.sum(-1) == head.visible.clamp_max(budget)).all()


@settings(max_examples=25, deadline=None)
@given(head=heads(), budget=st.integers(1, 60), tail=st.integers(1, 9), mean=st.integers(1, 9))
def test_starc_fills_its_budget_exactly_unless_the_tail_is_larger(
    head: KvHeadTrace, budget: int, tail: int, mean: int
) -> None:
    policy: Any = load_policy(f"starc:window_tokens=12,cluster_tokens={mean},tail_tokens={tail}")
    mask = policy.select(head, Budget(count_tokens=budget)).mask
    step = torch.arange(head.steps)
    loose = step % tail
    seen = head.visible
    if head.sliding_window is not None:
        seen = seen.clamp_max(head.sliding_window)
    expected = torch.minimum(seen, torch.maximum(torch.full_like(seen, budget), loose))
    assert (mask.sum(-1) == expected).all()


@settings(max_examples=20, deadline=None)
@given(
    head=heads(),
    layout=st.sampled_from(["clustered", "clustered_aligned", "clustered:tail=arrival"]),
    block_tokens=st.sampled_from([4, 8, 16]),
)
def test_a_selection_touches_enough_blocks_for_its_tokens_and_no_more_than_its_tokens(
    head: KvHeadTrace, layout: str, block_tokens: int
) -> None:
    policy = load_policy("starc:window_tokens=16,cluster_tokens=4,tail_tokens=8")
    selection = policy.select(head, Budget(count_tokens=12))
    placement = load_layout(layout).place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, block_tokens
    )
    blocks = touched_blocks(selection.mask, placement, block_tokens).sum(-1)
    tokens = selection.mask.sum(-1)
    assert (blocks * block_tokens >= tokens).all()
    assert (blocks <= tokens).all()
