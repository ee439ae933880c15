"""Replays from a script: policies as objects, results as a frame."""

from pathlib import Path

import polars as pl
import pytest
import torch

import pimreplay
from pimreplay.policies.quest import Quest
from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from tracegen.base.errors import UserError

TRACE = Path(__file__).parents[3] / "traces" / "needle_1k"
SETTINGS = pimreplay.Settings(layers=(12,), dense_layers=0)


class EverySecond:
    """A policy of a script: not a dataclass, in no file of the package."""

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Keep every second token that a step sees, and its own."""
        token = torch.arange(head.tokens)
        mask = (token < head.visible[:, None]) & (token % 2 == 0)
        mask |= token == head.visible[:, None] - 1
        return Selection(mask.expand(head.q_heads, -1, -1).clone(), None, overhead(head))


def test_objects_and_names_replay_alike(tmp_path: Path) -> None:
    found = pimreplay.replay_trace(
        TRACE,
        [Quest(page_tokens=8), "quest:page_tokens=8", EverySecond()],
        [64, "10%"],
        out=tmp_path / "results",
        settings=SETTINGS,
    )
    steps = found.tables["steps"].collect()
    assert set(steps["policy"]) == {"Quest", "quest", "EverySecond"}
    assert set(steps["budget"]) == {"64", "0.1"}
    one, other = (
        steps.filter(pl.col("policy") == name).drop("policy").sort("budget", "kv_head", "step")
        for name in ("Quest", "quest")
    )
    assert one.equals(other) and one["policy_parameters"][0].startswith("page_tokens=8")
    mine = steps.filter(pl.col("policy") == "EverySecond", pl.col("step") == 1)
    assert mine["policy_parameters"].unique().to_list() == [""]
    # 1,026 tokens are seen: 513 even ones and the step's own
    assert mine["selected_tokens"].unique().to_list() == [514]


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "results"
    for policies, budgets, said in (
        (["quest"], [64, 64], "two points have one name"),
        (["quest"], [0], "budget"),
        (["qest"], [64], "did you mean quest"),
    ):
        with pytest.raises(UserError, match=said):
            pimreplay.replay_trace(TRACE, policies, budgets, out=out, settings=SETTINGS)
    assert not out.exists()


def test_only_what_is_promised_is_there() -> None:
    for name in pimreplay.__all__:
        assert getattr(pimreplay, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'replayed'"):
        pimreplay.replayed  # noqa: B018
