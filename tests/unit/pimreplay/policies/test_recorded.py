"""Selections made elsewhere: read as they were written, refused where they do not fit the trace."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from pimreplay.policies import load_policy
from pimreplay.policies.recorded import Recorded
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from tests.unit.pimreplay.policies.conftest import head_of
from tracegen.base.errors import UserError

STEPS, PROMPT, Q_HEADS = 3, 10, 2  # of each of two KV heads
TOKENS = PROMPT + STEPS
KEPT = np.zeros((4, STEPS, TOKENS), bool)
for head_, step_ in np.ndindex(4, STEPS):
    KEPT[head_, step_, [head_, 2 + head_, PROMPT + step_]] = True


def kv_head(number: int, **rest: Any) -> KvHeadTrace:
    random = torch.Generator().manual_seed(0)
    query = torch.randn(Q_HEADS, STEPS, 4, generator=random)
    key = torch.randn(TOKENS, 4, generator=random)
    return head_of(query, key, PROMPT, layer=5, kv_head=number, **rest)


def npz(path: Path, **arrays: np.ndarray) -> Path:
    given = {"selected_layer_5": np.packbits(KEPT, axis=-1)} | arrays
    np.savez(path / "kept.npz", **given)  # type: ignore[arg-type]
    return path / "kept.npz"


def parquet(path: Path) -> Path:
    rows = [
        {"layer": 5, "query_head": q, "step": s, "tokens": np.flatnonzero(KEPT[q, s]).tolist()}
        for q, s in np.ndindex(4, STEPS)
    ]
    pl.DataFrame(rows[::-1]).write_parquet(path / "kept.parquet")
    return path / "kept.parquet"


@pytest.mark.parametrize("write", [npz, parquet])
@pytest.mark.parametrize("number", [0, 1])
def test_what_was_recorded_is_kept(write: Any, number: int, tmp_path: Path) -> None:
    policy = load_policy(f"recorded:path={write(tmp_path)}")
    selection = policy.select(kv_head(number), Budget.parse("4"))
    expected = KEPT[Q_HEADS * number : Q_HEADS * (number + 1)]
    assert (selection.mask.numpy() == expected).all()
    assert selection.groups is None and selection.output is None
    assert selection.overhead.scored_bytes is None, "unknown, not none"


def test_nothing_is_dropped_while_the_context_fits_the_budget(tmp_path: Path) -> None:
    mask = Recorded(str(npz(tmp_path))).select(kv_head(0), Budget.parse("12")).mask
    assert mask.sum(-1).tolist() == [[11, 12, 3], [11, 12, 3]]


def test_groups_and_work_are_the_recorded_ones(tmp_path: Path) -> None:
    group = np.full((2, TOKENS), -1)
    group[1, 1:7] = [7, 3, 7, 3, 3, 7]
    scored = np.array([[0, 0, 0], [5, 6, 7]])
    path = npz(tmp_path, group_layer_5=group, scored_bytes_layer_5=scored)
    selection = Recorded(str(path)).select(kv_head(1), Budget.parse("4"))
    groups = selection.groups
    assert groups is not None and groups.rank is not None
    assert (groups.start.tolist(), groups.stop.tolist(), groups.step.tolist()) == ([1], [7], [-1])
    assert groups.label.tolist() == [-1, 1, 0, 1, 0, 0, 1, *[-1] * 6]
    assert groups.rank.tolist() == [0, 0, 0, 1, 1, 2, 2, *[0] * 6]
    assert selection.overhead.scored_bytes is not None
    assert selection.overhead.scored_bytes.tolist() == [5, 6, 7]
    assert selection.overhead.moved_tokens is None
    assert Recorded(str(path)).select(kv_head(0), Budget.parse("4")).groups is None


def test_results_name_the_content_of_the_file(tmp_path: Path) -> None:
    path = npz(tmp_path)
    first = Recorded(str(path))
    assert len(first.sha256) == 64 and first.sha256 in repr(first)
    npz(tmp_path, scored_bytes_layer_5=np.ones((2, STEPS), int))
    with pytest.raises(UserError, match="not the given one"):
        Recorded(str(path), sha256=first.sha256)


WRONG: list[tuple[dict[str, np.ndarray], str]] = [
    ({"selected_layer_5": np.zeros((4, 2, 2), np.uint8)}, r"has 3 steps of 13 tokens"),
    ({"selected_layer_5": np.zeros((4, 3, 2), bool)}, r"bool of \(4, 3, 2\), where"),
    ({"selected_layer_5": np.zeros((3, 3, 2), np.uint8)}, "3 query heads, where this trace has 2"),
    ({"selected_layer_5": np.full((4, 3, 2), 1, np.uint8)}, "keeps tokens beyond the trace's 13"),
    ({"selected_layer_5": np.full((4, 3, 2), 0, np.uint8)}, "a step keeps no token"),
    ({"group_layer_5": np.full((2, 9), -1)}, r"group is int64 of \(2, 9\); give whole numbers"),
    ({"group_layer_5": np.full((2, TOKENS), 0)}, "must be prompt tokens that follow each other"),
    ({"moved_tokens_layer_5": np.full((2, STEPS), -1)}, "moved_tokens is negative"),
    ({"scored_bytes_layer_5": np.ones((2, STEPS))}, "scored_bytes is float64"),
]


@pytest.mark.parametrize(("arrays", "said"), WRONG)
def test_a_recording_of_something_else_is_refused(
    arrays: dict[str, np.ndarray], said: str, tmp_path: Path
) -> None:
    policy = Recorded(str(npz(tmp_path, **arrays)))
    with pytest.raises(UserError, match=f"kept.npz: layer 5, KV head 1.*{said}"):
        policy.select(kv_head(1), Budget.parse("4"))


def test_tokens_that_a_step_does_not_see_are_refused(tmp_path: Path) -> None:
    early = KEPT.copy()
    early[3, 1, 12] = True
    path = npz(tmp_path, selected_layer_5=np.packbits(early, axis=-1))
    with pytest.raises(UserError, match="query head 3, step 1: keeps token 12, which that step"):
        Recorded(str(path)).select(kv_head(1), Budget.parse("4"))
    Recorded(str(path)).select(kv_head(0), Budget.parse("4"))
    with pytest.raises(UserError, match="query head 0, step 0: keeps token 0, which that step"):
        Recorded(str(npz(tmp_path))).select(kv_head(0, sliding_window=4), Budget.parse("4"))


def test_a_layer_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path)
    np.savez(path, selected_layer_4=np.zeros((4, 3, 2), np.uint8))
    with pytest.raises(UserError, match="holds no selected_layer_5"):
        Recorded(str(path)).select(kv_head(1), Budget.parse("4"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.col("step") + 1, "12 rows|one row for each"),
        (pl.col("layer") + 1, "0 rows of 0 query heads and steps"),
        (pl.lit([99]).alias("tokens"), "tokens 99 to 99, where this trace has 13"),
        (pl.lit("x").alias("step"), "give the columns layer, query_head, step, tokens"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change: pl.Expr, said: str, tmp_path: Path) -> None:
    path = parquet(tmp_path)
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    with pytest.raises(UserError, match=said):
        Recorded(str(path)).select(kv_head(1), Budget.parse("4"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("recorded", "no file; write recorded:path=FILE.npz"),
        ("recorded:path=nowhere.npz", "nowhere.npz: No such file"),
        ("recorded:path=pyproject.toml", "give a .npz or a .parquet file"),
    ],
)
def test_what_is_no_recording_is_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_policy(words)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for name in ("a.npz", "a.parquet"):
        (tmp_path / name).write_text("not arrays")
        with pytest.raises(UserError, match=r"not an \.npz file|give the columns"):
            Recorded(str(tmp_path / name)).select(kv_head(0), Budget.parse("4"))
