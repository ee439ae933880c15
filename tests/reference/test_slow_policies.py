"""The tensor code of each policy selects what its slow twin does, in every step."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pimreplay.policies import load_policy
from pimreplay.records import Groups, KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.stored_order import introsorted

_SPEC = spec_from_file_location("slow_policies", Path(__file__).parent / "slow_policies.py")
assert _SPEC is not None
assert _SPEC.loader is not None
slow = module_from_spec(_SPEC)
sys.modules["slow_policies"] = slow
_SPEC.loader.exec_module(slow)

PROMPT, STEPS, DIM, HEADS = 75, 37, 8, 2
BUDGETS = [16, 40, 90]
STEP_NUMBERS = range(STEPS)


@pytest.fixture(scope="module")
def heads() -> tuple[KvHeadTrace, Any]:
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    tokens = PROMPT + STEPS
    arrays = {
        "query": 1.5 * normal(HEADS, STEPS, DIM),
        "key": normal(tokens, DIM) + np.repeat(normal(tokens // 8 + 1, DIM), 8, axis=0)[:tokens],
        "value": normal(tokens, DIM),
        "prompt_query": normal(HEADS, 20, DIM),
        "prompt_attention": rng.random((HEADS, PROMPT), dtype=np.float32),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    fast = KvHeadTrace(
        layer=0,
        kv_head=0,
        prompt_tokens=PROMPT,
        softmax_scale=DIM**-0.5,
        soft_cap=None,
        sliding_window=None,
        **tensors,
    )
    return fast, slow.Head(prompt=PROMPT, scale=DIM**-0.5, **arrays)


def select(heads: tuple[KvHeadTrace, Any], policy: str, budget: int) -> Selection:
    return load_policy(policy).select(heads[0], Budget(count_tokens=budget))


def chosen(selection: Selection, q_head: int, step: int) -> set[int]:
    return set(selection.mask[q_head, step].nonzero()[:, 0].tolist())


def close(selection: Selection, step: int, expected: np.ndarray) -> None:
    assert selection.output is not None
    np.testing.assert_allclose(selection.output[:, step].numpy(), expected, rtol=2e-4, atol=2e-5)


def clusters_at(
    head: KvHeadTrace, groups: Groups, centroid: torch.Tensor, made: torch.Tensor, step: int
) -> list[tuple[np.ndarray, list[int]]]:
    """Return (centroid, tokens as stored) of the clusters that a policy made by a step."""
    assert groups.rank is not None
    result = []
    for number in range(int((made <= step).sum())):
        members = (groups.label == number).nonzero()[:, 0]
        stored = members[groups.rank[members].argsort()].tolist()
        result.append((centroid[number].numpy(), stored))
    return result


@pytest.mark.parametrize("budget", BUDGETS)
def test_topk(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    selection = select(heads, "topk", budget)
    for step in STEP_NUMBERS:
        for q_head, expected in enumerate(slow.topk(heads[1], step, budget)):
            assert chosen(selection, q_head, step) == expected


@pytest.mark.parametrize("budget", BUDGETS)
def test_quest(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    selection = select(heads, "quest:page_tokens=4", budget)
    for step in STEP_NUMBERS:
        for q_head, expected in enumerate(slow.quest(heads[1], step, budget, 4)):
            assert chosen(selection, q_head, step) == expected


@pytest.mark.parametrize("budget", BUDGETS)
def test_sparq(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    selection = select(heads, "sparq:rank=3", budget)
    for step in STEP_NUMBERS:
        expected, output = slow.sparq(heads[1], step, budget, 3, 0.25)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == [expected] * HEADS
        close(selection, step, output)


@pytest.mark.parametrize("budget", BUDGETS)
def test_starc(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    text = "starc:window_tokens=32,cluster_tokens=8,tail_tokens=12"
    selection = select(heads, text, budget)
    for step in STEP_NUMBERS:
        clusters, tail = slow.starc_clusters(heads[1], step, 32, 8, 12, introsorted)
        room = budget - len(tail)
        expected = slow.whole_clusters(heads[1], step, clusters, tail, room)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == expected


def test_starc_clusters_a_whole_prompt_as_its_first_paper(heads: tuple[KvHeadTrace, Any]) -> None:
    policy: Any = load_policy("starc:preset=v1,start=first,tail_tokens=20")
    groups = policy.cluster(heads[0]).groups
    assert groups.start.tolist() == [0, PROMPT + 1]
    assert groups.stop.tolist() == [PROMPT + 1, PROMPT + 21]
    assert int(groups.label.max()) + 1 <= 3 + 1  # ceil(76 / 32) and ceil(20 / 32) clusters


@pytest.mark.parametrize("budget", [3, *BUDGETS])
def test_streaming_llm(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    selection = select(heads, "streaming_llm", budget)
    for step in STEP_NUMBERS:
        expected = slow.streaming_llm(heads[1], step, budget, 4)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == [expected] * HEADS


@pytest.mark.parametrize("recent_ratio", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("budget", BUDGETS)
def test_h2o(heads: tuple[KvHeadTrace, Any], budget: int, recent_ratio: float) -> None:
    selection = select(heads, f"h2o:recent_ratio={recent_ratio}", budget)
    expected = slow.h2o(heads[1], budget, recent_ratio)
    for step in STEP_NUMBERS:
        for q_head in range(HEADS):
            assert chosen(selection, q_head, step) == expected[q_head][step]


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("budget", [16, 40])
def test_snapkv(heads: tuple[KvHeadTrace, Any], budget: int, pooling: str) -> None:
    selection = select(heads, f"snapkv:window=10,kernel=3,pooling={pooling}", budget)
    expected = slow.snapkv(heads[1], budget, 10, 3, pooling)
    for step in STEP_NUMBERS:
        decoded = set(range(PROMPT, PROMPT + step + 1))
        for q_head in range(HEADS):
            assert chosen(selection, q_head, step) == expected[q_head] | decoded


@pytest.mark.parametrize("tail_inside", [False, True])
@pytest.mark.parametrize("budget", BUDGETS)
def test_clusterkv(heads: tuple[KvHeadTrace, Any], budget: int, tail_inside: bool) -> None:
    text = f"clusterkv:sinks=5,cluster_tokens=9,tail_tokens=14,tail_clusters=3,{tail_inside=}"
    selection = select(heads, text, budget)
    made = load_policy(text).cluster(heads[0])  # type: ignore[attr-defined]
    for step in STEP_NUMBERS:
        clusters = clusters_at(heads[0], made.groups, made.centroid, made.made_step, step)
        tail = list(range(PROMPT + (step + 1) // 14 * 14, PROMPT + step + 1))
        kept = list(range(5)) + tail
        room = budget - 5 - (len(tail) if tail_inside else 0)
        expected = slow.whole_clusters(heads[1], step, clusters, kept, room)
        if budget >= PROMPT + step + 1:
            expected = [set(range(PROMPT + step + 1))] * HEADS
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == expected


@pytest.mark.parametrize("budget", BUDGETS)
def test_retroinfer(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    text = "retroinfer:sinks=3,local_tokens=8,segment_tokens=30,cluster_tokens=4,tail_tokens=10"
    selection = select(heads, text, budget)
    made = load_policy(text).cluster(heads[0])  # type: ignore[attr-defined]
    for step in STEP_NUMBERS:
        clusters = clusters_at(heads[0], made.groups, made.centroid, made.made_step, step)
        clustered = {token for _, tokens in clusters for token in tokens}
        steady = [token for token in range(PROMPT + step + 1) if token not in clustered]
        assert len(steady) == 3 + 8 + 1 + (step % 10 if step % 10 or not step else 0)
        expected, output = slow.retroinfer(heads[1], step, budget, steady, clusters, 0.232)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == [expected] * HEADS
        close(selection, step, output)


@pytest.mark.parametrize("budget", BUDGETS)
def test_pqcache(heads: tuple[KvHeadTrace, Any], budget: int) -> None:
    policy: Any = load_policy("pqcache:bits=6,sinks=6")  # few keys share codes: no ties
    selection = policy.select(heads[0], Budget(count_tokens=budget))
    centroid, code, _ = policy._codes(heads[0])
    quantised = torch.cat([centroid[0][code[0]], centroid[1][code[1]]], dim=1).numpy()
    for step in STEP_NUMBERS:
        expected = slow.pqcache(heads[1], step, budget, 6, 0.5, quantised)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == [expected] * HEADS


def test_magicpig(heads: tuple[KvHeadTrace, Any]) -> None:
    selection = select(heads, "magicpig:bits=3,tables=12,local_tokens=6", 16)
    plane = torch.randn((DIM, 36), generator=torch.Generator().manual_seed(0)).numpy()
    for step in STEP_NUMBERS:
        expected, output = slow.magicpig(heads[1], step, plane, 3, 4, 6)
        assert [chosen(selection, q_head, step) for q_head in range(HEADS)] == expected
        close(selection, step, output)
