"""Selections and block counts equal those of the reference implementations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pimreplay.layouts import load_layout
from pimreplay.placement.blocks import touched_blocks
from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget

FILE = Path(__file__).parents[3] / "golden" / "selection" / "case_a_layer2_kv_head0.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FILE) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def head(golden: dict[str, np.ndarray]) -> KvHeadTrace:
    query, key, value = (
        torch.from_numpy(golden[name].astype(np.float32)) for name in ("query", "key", "value")
    )
    prompt = int(golden["prefill_tokens"])
    return KvHeadTrace(0, 0, query, key[0], value[0], prompt, 64**-0.5, None, None)


def wanted(golden: dict[str, np.ndarray], name: str, tokens: int) -> np.ndarray:
    return np.unpackbits(golden[name], axis=-1, count=tokens).astype(bool)


def mean_tokens_read(selection: Selection, layout: str, head: KvHeadTrace) -> float:
    placement = load_layout(layout).place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, 16
    )
    return 16 * float(touched_blocks(selection.mask, placement, 16).sum(-1).double().mean())


@pytest.mark.parametrize("budget", ["256", "512"])
@pytest.mark.parametrize("policy", ["starc", "quest", "sparq"])
def test_selections_equal_the_reference_in_every_row(
    policy: str, budget: str, head: KvHeadTrace, golden: dict[str, np.ndarray]
) -> None:
    selection = load_policy(policy).select(head, Budget.parse(budget))
    differing = selection.mask.numpy() != wanted(golden, f"{policy}_{budget}", head.tokens)
    assert differing.any(axis=-1).sum() == 0


@pytest.mark.parametrize(
    ("policy", "layout", "budget", "tokens"),
    [
        ("quest", "sequential", "256", 256.0),
        ("quest", "sequential", "512", 512.0),
        ("starc", "sequential", "256", 464.677),
        ("starc", "sequential", "512", 833.046),
        ("starc", "clustered", "256", 380.492),
        ("starc", "clustered", "512", 685.785),
        ("topk", "sequential", "256", 1043.262),
        ("topk", "sequential", "512", 1488.8),
    ],
)
def test_block_counts_are_those_of_the_whole_case_cut_to_this_head(
    policy: str, layout: str, budget: str, tokens: float, head: KvHeadTrace
) -> None:
    selection = load_policy(policy).select(head, Budget.parse(budget))
    assert mean_tokens_read(selection, layout, head) == pytest.approx(tokens, rel=1e-5)


def test_a_device_that_knows_no_future_reads_fewer_blocks_than_published(head: KvHeadTrace) -> None:
    selection = load_policy("starc").select(head, Budget.parse("256"))
    causal = mean_tokens_read(selection, "clustered:tail=arrival", head)
    assert causal < mean_tokens_read(selection, "clustered", head) < 1.1 * causal
