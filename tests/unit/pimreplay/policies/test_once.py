"""Clustering is shared by the budgets of one head, and by nothing else."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from pimreplay.policies import load_policy
from pimreplay.policies.starc import Starc
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Starc]:
    calls: list[Starc] = []
    cluster = Starc.cluster

    def counted(self: Starc, head: KvHeadTrace) -> object:
        calls.append(self)
        return cluster(self, head)

    monkeypatch.setattr(Starc, "cluster", counted)
    return calls


def test_budgets_of_one_head_share_their_clusters(
    random_head: Callable[..., KvHeadTrace], made: list[Starc]
) -> None:
    head = random_head()
    for budget in ("40", "80", "0.5"):
        load_policy("starc").select(head, Budget.parse(budget))
    assert len(made) == 1


def test_another_head_or_parameter_gets_its_own(
    random_head: Callable[..., KvHeadTrace], made: list[Starc]
) -> None:
    head = random_head()
    equal = dataclasses.replace(head, key=head.key + 0)
    budget = Budget.parse("40")
    first = load_policy("starc").select(head, budget)
    load_policy("starc:iterations=2").select(head, budget)
    load_policy("starc").select(equal, budget)
    again = load_policy("starc").select(head, budget)
    assert len(made) == 4
    assert torch.equal(first.mask, again.mask)
