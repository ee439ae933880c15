"""What every policy must do, whichever are there: a new file is covered the moment it exists."""

import dataclasses
from typing import Any

import pytest
import torch

import pimreplay.policies
from pimreplay.layouts import load_layout
from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from tracegen.base.discover import discover, names, variant_class
from tracegen.base.errors import UserError

OF_ONE_TRACE = {"recorded"}
"""Policies that decide nothing: a recording fits one trace alone and has tests of its own."""
NAMES = [name for name in names(pimreplay.policies) if name not in OF_ONE_TRACE]
PARAMETERS = {
    "block_tree": "leaf_tokens=4,sinks=8,tail_tokens=8",
    # small clusters and tails, so that a short trace goes through every part of the method
    "starc": "window_tokens=32,cluster_tokens=8,tail_tokens=8",
    "clusterkv": "sinks=4,cluster_tokens=10,tail_tokens=16,tail_clusters=3",
    "retroinfer": "local_tokens=8,segment_tokens=40,cluster_tokens=4,tail_tokens=12",
    "pqcache": "bits=3,sinks=6",
    "magicpig": "bits=4,tables=20,local_tokens=8",
    "snapkv": "window=8",
    "quest": "page_tokens=8",
}
BUDGETS = ["24", "60", "0.3"]


def head_of(seed: int = 0, **rest: Any) -> KvHeadTrace:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    q_heads, prompt, steps, head_dim = 3, 101, 45, 16
    settings: dict[str, Any] = {"soft_cap": None, "sliding_window": None} | rest
    return KvHeadTrace(
        layer=2,
        kv_head=1,
        query=2 * normal(q_heads, steps, head_dim),
        key=normal(prompt + steps, head_dim),
        value=normal(prompt + steps, head_dim),
        prompt_tokens=prompt,
        softmax_scale=head_dim**-0.5,
        prompt_query=normal(q_heads, 64, head_dim),
        prompt_attention=torch.rand((q_heads, prompt), generator=random),
        prompt_attention_decayed=torch.rand((q_heads, prompt), generator=random),
        **settings,
    )


def policy_of(name: str, more: str = "") -> Any:
    given = ",".join(filter(None, (PARAMETERS.get(name, ""), more)))
    return load_policy(f"{name}:{given}")


def seen(head: KvHeadTrace) -> torch.Tensor:
    token = torch.arange(head.tokens)
    mask = token < head.visible[:, None]
    if head.sliding_window is not None:
        mask &= token >= head.visible[:, None] - head.sliding_window
    return mask


def exact_output(head: KvHeadTrace, mask: torch.Tensor) -> torch.Tensor:
    scores = head.query @ head.key.T * head.softmax_scale
    if head.soft_cap is not None:
        scores = head.soft_cap * torch.tanh(scores / head.soft_cap)
    weight = scores.masked_fill(~mask, float("-inf")).exp()
    total = weight.sum(-1, keepdim=True)
    if head.sink_logit is not None:
        total += head.sink_logit[:, None, None].exp()
    return weight @ head.value / total


HEADS = {
    "plain": head_of(),
    "soft capped": head_of(1, soft_cap=5.0),
    "sliding window": head_of(2, sliding_window=70),
    "attention sinks": head_of(4, sink_logit=torch.tensor([1.0, 6.0, -2.0])),
    "one query head": dataclasses.replace(
        head_of(3),
        query=head_of(3).query[:1],
        prompt_query=head_of(3).prompt_query[:1],
        prompt_attention=head_of(3).prompt_attention[:1],
    ),
}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_attends_to_itself_and_never_to_what_it_does_not_see(
    name: str, case: str, budget: str
) -> None:
    head = HEADS[case]
    selection = policy_of(name).select(head, Budget.parse(budget))
    assert selection.mask.shape == (head.q_heads, head.steps, head.tokens)
    assert selection.mask.dtype == torch.bool
    assert not (selection.mask & ~seen(head)).any()
    assert selection.mask.any(dim=-1).all()


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_dropped_while_the_context_fits_the_budget(name: str, case: str) -> None:
    head = HEADS[case]
    for budget in ("146", "1.0", "100000"):
        selection = policy_of(name).select(head, Budget.parse(budget))
        assert (selection.mask == seen(head)).all()
        if selection.output is not None:
            expected = exact_output(head, seen(head))
            torch.testing.assert_close(selection.output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_dropped_in_the_steps_before_the_context_outgrows_the_budget(name: str) -> None:
    head = HEADS["plain"]
    selection = policy_of(name).select(head, Budget.parse("120"))
    early = head.visible <= 120
    assert (selection.mask[:, early] == seen(head)[early]).all()


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_overheads_and_groups_have_a_value_for_every_step_and_token(name: str, case: str) -> None:
    head = HEADS[case]
    selection: Selection = policy_of(name).select(head, Budget.parse("24"))
    for field in dataclasses.fields(selection.overhead):
        values = getattr(selection.overhead, field.name)
        assert values is None or (values.shape == (head.steps,) and (values >= 0).all())
    groups = selection.groups
    if groups is None:
        return
    assert groups.label.shape == (head.tokens,)
    covered = torch.zeros(head.tokens, dtype=torch.bool)
    for start, stop, step in zip(groups.start, groups.stop, groups.step, strict=True):
        assert not covered[start:stop].any(), "segments overlap"
        covered[start:stop] = True
        assert int(stop) <= head.prompt_tokens + max(int(step), 0) + 1, "clustered before it came"
        assert groups.rank is not None
        for cluster in groups.label[start:stop].unique():
            places = groups.rank[groups.label == cluster].sort().values
            assert torch.equal(places, torch.arange(len(places)))
    assert torch.equal(covered, groups.label >= 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_head_gives_the_same_selection_twice(name: str) -> None:
    head = HEADS["plain"]
    first, second = (policy_of(name).select(head, Budget.parse("24")) for _ in range(2))
    assert torch.equal(first.mask, second.mask)
    if first.output is not None:
        assert torch.equal(first.output, second.output)


@pytest.mark.parametrize("case", ["plain", "sliding window"])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_of_few_steps_select_what_one_large_tile_does(
    name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = HEADS[case]
    whole = policy_of(name).select(head, Budget.parse("24"))
    monkeypatch.setattr("pimreplay.selection.visibility.TILE_BYTES", 3 * 4 * 146 * 7)
    tiled = policy_of(name).select(head, Budget.parse("24"))
    assert torch.equal(whole.mask, tiled.mask)
    if whole.output is not None:
        torch.testing.assert_close(whole.output, tiled.output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_future_token_changes_no_earlier_choice(name: str) -> None:
    head = HEADS["plain"]
    shorter = dataclasses.replace(
        head, query=head.query[:, :30], key=head.key[:131], value=head.value[:131]
    )
    whole = policy_of(name).select(head, Budget.parse("24"))
    cut = policy_of(name).select(shorter, Budget.parse("24"))
    assert torch.equal(whole.mask[:, :30, :131], cut.mask)


GQA = [
    name
    for name, module in discover(pimreplay.policies).items()
    if "gqa" in {field.name for field in dataclasses.fields(variant_class(module))}
]


@pytest.mark.parametrize("name", GQA)
def test_gqa_modes_share_what_they_say(name: str) -> None:
    head = HEADS["plain"]
    budget = Budget.parse("24")
    own = policy_of(name, "gqa=per_query_head").select(head, budget).mask
    union = policy_of(name, "gqa=union_of_group").select(head, budget).mask
    shared = policy_of(name, "gqa=group_shared").select(head, budget).mask
    assert not torch.equal(own[0], own[1]), "heads of random queries choose differently"
    assert (union == own.any(dim=0)).all()
    assert (shared == shared[:1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_documented_and_typed(name: str) -> None:
    policy = policy_of(name)
    assert type(policy).__doc__
    assert type(policy).__dataclass_params__.frozen
    with pytest.raises(UserError, match=rf"policy {name}: unknown parameter 'no_such'"):
        load_policy(f"{name}:no_such=1")


@pytest.mark.parametrize("layout", ["clustered", "clustered_aligned"])
@pytest.mark.parametrize("prompt", [6, 20, 70])
@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_too_short_for_a_cluster_can_be_laid_out(
    name: str, prompt: int, layout: str
) -> None:
    whole = head_of()
    head = dataclasses.replace(
        whole,
        key=whole.key[: prompt + whole.steps],
        value=whole.value[: prompt + whole.steps],
        prompt_tokens=prompt,
        prompt_query=whole.prompt_query[:, -min(prompt, 64) :],
        prompt_attention=whole.prompt_attention[:, :prompt],
        prompt_attention_decayed=whole.prompt_attention_decayed[:, :prompt],
    )
    try:
        selection = load_policy(name).select(head, Budget.parse("0.5"))
    except UserError:
        assert name == "snapkv"  # looks at more of the prompt than there is
        return
    placement = load_layout(layout).place(selection.groups, head.tokens, prompt, head.steps, 16)
    assert len(placement.slot[-1].unique()) == head.tokens
