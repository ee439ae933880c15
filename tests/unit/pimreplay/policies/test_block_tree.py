"""Leaves of one block: where keys are split, which leaves are read, what making them costs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimreplay.layouts import load_layout
from pimreplay.policies.block_tree import BlockTree, _logit_metric
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from pimreplay.selection.halving import flops, halved
from tests.unit.pimreplay.policies.conftest import head_of
from tracegen.base.errors import UserError


def test_points_on_a_line_are_split_at_its_medians() -> None:
    # along (1, 1): 0 .. 11 in this order; 3 blocks of 4 points are split 2 to 1
    place = torch.tensor([7, 2, 9, 0, 5, 11, 1, 8, 3, 6, 10, 4])
    points = place[:, None] * torch.tensor([1.0, 1.0])
    leaves = place[halved(points, block=4, iterations=3)].view(3, 4)
    groups = {frozenset(leaf.tolist()) for leaf in leaves}
    # which end comes first depends on where the farthest point lies: twice 4 points are whole here
    assert len(groups) == 3
    assert all(max(group) - min(group) == 3 for group in groups)


def possible_leaves(
    points: torch.Tensor, part: list[int], block: int
) -> set[frozenset[frozenset[int]]]:
    """Split by the eigenvector of each part's covariance, part by part.

    An eigenvector has no sign, so either end may come first: every tree that this allows is right.
    """
    if len(part) == block:
        return {frozenset({frozenset(part)})}
    centred = points[part].double() - points[part].double().mean(0)
    along = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    order = [part[i] for i in along.argsort().tolist()]
    left = math.ceil(len(part) / block / 2) * block
    found = set()
    for either in (order, order[::-1]):
        for one in possible_leaves(points, either[:left], block):
            found |= {one | rest for rest in possible_leaves(points, either[left:], block)}
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), blocks=st.integers(1, 6))
def test_leaves_are_those_of_a_slow_twin(seed: int, blocks: int) -> None:
    random = torch.Generator().manual_seed(seed)
    # one direction is far longer than the others, so that few iterations find it
    points = torch.randn(3 * blocks, 4, generator=random) * torch.tensor([9.0, 0.3, 0.1, 0.03])
    points += torch.tensor([0.0, 40.0, 0.0, 0.0])  # the mean is no direction
    order = halved(points, block=3, iterations=60)
    assert sorted(order.tolist()) == list(range(3 * blocks))
    found = frozenset(frozenset(leaf) for leaf in order.view(-1, 3).tolist())
    assert found in possible_leaves(points, list(range(3 * blocks)), 3)


def test_arithmetic_of_a_tree_is_that_of_its_levels() -> None:
    # 4 blocks of 2 points of 5 elements, 3 iterations: 8 points once, 4 points twice; each point
    # and element: mean and its subtraction 2, four a step of the iteration, two along the direction
    each = 5 * (2 + 4 * 3 + 2)
    assert flops(8, 2, 5, 3) == (8 * each + 8 * 3) + 2 * (4 * each + 4 * 2)
    assert flops(2, 2, 5, 3) == 0


def test_distances_are_those_of_the_queries_logits() -> None:
    random = torch.Generator().manual_seed(1)
    queries, a, b = (torch.randn(n, 6, generator=random) for n in (200, 1, 1))
    expected = ((a - b) @ queries.T).square().mean()
    found = ((a - b) @ _logit_metric(queries)).square().sum()
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=0)


def tree_head(prompt: int, steps: int, **rest: object) -> KvHeadTrace:
    random = torch.Generator().manual_seed(3)
    query = torch.randn(2, steps, 8, generator=random)
    key = torch.randn(prompt + steps, 8, generator=random)
    given = torch.randn(2, 32, 8, generator=random)
    return head_of(query, key, prompt, prompt_query=given, **rest)


def test_the_best_leaves_are_read_whole_beside_sinks_and_loose_tokens() -> None:
    head = tree_head(prompt=27, steps=6)
    policy = BlockTree(leaf_tokens=4, sinks=4, tail_tokens=8)
    selection = policy.select(head, Budget.parse("16"))
    groups = selection.groups
    assert groups is not None
    # sinks 0-3, leaves of 4-23 at prefill, loose 24-31 become leaves with the token of step 4
    assert groups.start.tolist() == [4, 24]
    assert groups.stop.tolist() == [24, 32]
    assert groups.step.tolist() == [-1, 4]
    for step in range(6):
        leaves = 5 if step < 4 else 7
        loose = list(range(24, 28 + step)) if step < 4 else list(range(32, 28 + step))
        room = (16 - 4 - len(loose)) // 4
        for q_head in range(2):
            mean = [head.key[groups.label == leaf].mean(0) for leaf in range(leaves)]
            scores = torch.stack(mean) @ head.query[q_head, step]
            kept = scores.argsort(descending=True)[: max(room, 0)]
            expected = {0, 1, 2, 3, *loose}
            expected |= {t for t in range(32) if int(groups.label[t]) in kept.tolist()}
            assert set(selection.mask[q_head, step].nonzero()[:, 0].tolist()) == expected


def test_what_is_selected_is_all_that_is_read() -> None:
    head = tree_head(prompt=160, steps=70)
    selection = BlockTree().select(head, Budget.parse("96"))
    layout = load_layout(BlockTree.usual_layout)
    placed = layout.place(selection.groups, head.tokens, head.prompt_tokens, head.steps, 16)
    for step in range(head.steps):
        slot = placed.slot[placed.epoch_of_step[step]]
        for q_head in range(head.q_heads):
            token = selection.mask[q_head, step].nonzero()[:, 0]
            assert len((slot[token] // 16).unique()) == math.ceil(len(token) / 16) <= 6


@settings(max_examples=25, deadline=None)
@given(prompt=st.integers(1, 60), steps=st.integers(1, 30), budget=st.integers(1, 50))
def test_as_many_leaves_are_read_as_fit(prompt: int, steps: int, budget: int) -> None:
    head = tree_head(prompt, steps)
    policy = BlockTree(leaf_tokens=4, sinks=4, tail_tokens=8)
    selection = policy.select(head, Budget(count_tokens=budget))
    groups = selection.groups
    assert groups is not None
    for step in range(steps):
        seen = prompt + step + 1
        made = groups.step <= step
        in_leaves = int((groups.stop - groups.start)[made].sum())
        always = seen - in_leaves  # sinks and loose tokens
        leaves = min(max(budget - always, 0) // 4, in_leaves // 4)
        kept = selection.mask[:, step].sum(-1).tolist()
        assert kept == [always + 4 * leaves] * head.q_heads


def test_making_leaves_is_charged_where_it_happens() -> None:
    head = tree_head(prompt=27, steps=6)
    work = (
        BlockTree(leaf_tokens=4, sinks=4, tail_tokens=8).select(head, Budget.parse("16")).overhead
    )
    metric = 2 * 64 * 8**2  # 64 queries
    first = flops(20, 4, 8, 8) + metric + 2 * 20 * 8**2
    later = flops(8, 4, 8, 8) + metric + 2 * 8 * 8**2
    assert work.clustering_flops.tolist() == [first, 0, 0, 0, later, 0]
    assert work.clustered_tokens.tolist() == [20, 0, 0, 0, 8, 0]
    assert work.scored_vectors.tolist() == [10, 10, 10, 10, 14, 14]


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="sinks is 10; give a multiple of leaf_tokens, 16"):
        BlockTree(sinks=10)
    head = head_of(torch.ones(1, 2, 4), torch.ones(12, 4), 10)
    with pytest.raises(UserError, match=r"layer 0, KV head 0.*block_tree:split=keys"):
        BlockTree().select(head, Budget.parse("4"))
    assert BlockTree(split="keys").select(head, Budget.parse("4")).mask.any(-1).all()
