"""What a policy cannot do with a trace is said in one sentence, with what to do."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from tracegen.base.errors import UserError

MakeHead = Callable[..., KvHeadTrace]


def refused(policy: str, head: KvHeadTrace, budget: str = "40") -> str:
    with pytest.raises(UserError) as caught:
        load_policy(policy).select(head, Budget.parse(budget))
    return str(caught.value)


def test_snapkv_without_prompt_queries_says_how_to_get_them(random_head: MakeHead) -> None:
    head = dataclasses.replace(random_head(), prompt_query=None)
    message = refused("snapkv", head)
    assert "last 32 prompt queries and the trace holds none" in message
    assert "tracegen capture" in message


def test_snapkv_with_too_few_prompt_queries_names_both_numbers(random_head: MakeHead) -> None:
    head = random_head()
    head = dataclasses.replace(head, prompt_query=torch.zeros(2, 20, head.head_dim))
    assert "last 32 prompt queries and the trace holds 20" in refused("snapkv", head)


def test_snapkv_needs_no_prompt_queries_while_nothing_is_dropped(random_head: MakeHead) -> None:
    head = dataclasses.replace(random_head(), prompt_query=None)
    assert load_policy("snapkv").select(head, Budget.parse("1000")).mask[0, -1].all()


def test_snapkv_refuses_a_budget_inside_its_window(random_head: MakeHead) -> None:
    assert "a budget of 20 tokens leaves nothing beside the window of 32" in refused(
        "snapkv", random_head(), "20"
    )


def test_h2o_without_attention_sums_says_how_to_get_them(random_head: MakeHead) -> None:
    head = dataclasses.replace(random_head(), prompt_attention=None)
    message = refused("h2o", head)
    assert "no sums of the prompt's attention weights" in message
    assert "tracegen capture" in message


def test_sparq_refuses_a_rank_beyond_the_head_dimension(random_head: MakeHead) -> None:
    assert "rank=17 is more than the head_dim of 16" in refused("sparq:rank=17", random_head())


def test_pqcache_refuses_parts_of_unequal_length(random_head: MakeHead) -> None:
    assert "sub_vectors=3 does not divide the head_dim of 16" in refused(
        "pqcache:sub_vectors=3", random_head()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snapkv:kernel=4", "kernel=4 is even"),
        ("sparq:local_ratio=1.5", "local_ratio=1.5 is too large"),
        ("h2o:recent_ratio=-1", "recent_ratio=-1.0 is too small"),
        ("magicpig:bits=16", "bits=16 is too large"),
        ("retroinfer:retrieval_ratio=2", "retrieval_ratio=2.0 is too large"),
        ("starc:window_tokens=-1", "window_tokens=-1 is too small"),
    ],
)
def test_values_out_of_range_are_refused_when_the_policy_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_policy(text)
