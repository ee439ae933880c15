"""What every layout must do, whichever are there: a new file is covered the moment it exists."""

from typing import Any

import numpy as np
import pytest
import torch

import pimreplay.layouts
from pimreplay.layouts import load_layout
from pimreplay.placement.blocks import Placement, over_channels, touched_blocks
from pimreplay.records import Groups
from tracegen.base.discover import names
from tracegen.base.errors import UserError

NAMES = names(pimreplay.layouts)
VARIANTS = [
    *NAMES,
    "clustered:tail=arrival",
    "clustered_aligned:remainder=share",
    "clustered_aligned:tail=arrival",
    "clustered_aligned:remainder=share,tail=arrival",
]
PROMPT, STEPS = 45, 30
TOKENS = PROMPT + STEPS


def groups_of(seed: int = 0) -> Groups:
    """Return sinks 0..3, two prompt segments, two decoded ones, and a tail never clustered."""
    random = torch.Generator().manual_seed(seed)
    start, stop = torch.tensor([3, 25, 46, 56]), torch.tensor([25, 45, 56, 66])
    label = torch.full((TOKENS,), -1)
    rank = torch.zeros(TOKENS, dtype=torch.int64)
    for index, (begin, end) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        label[begin:end] = torch.randint(0, 3, (end - begin,), generator=random) + 3 * index
        for cluster in label[begin:end].unique():
            members = (label == cluster).nonzero()[:, 0]
            rank[members] = torch.randperm(len(members), generator=random)
    return Groups(start, stop, torch.tensor([-1, 0, 10, 20]), label, rank)


def groups_without_a_segment() -> Groups:
    """Return what a policy that clusters knows before its first cluster exists."""
    none = torch.zeros(0, dtype=torch.int64)
    return Groups(none, none, none, torch.full((TOKENS,), -1))


GROUPS = {
    "no groups": None,
    "none yet": groups_without_a_segment(),
    "groups": groups_of(),
    "others": groups_of(5),
}


def placed(text: str, groups: Groups | None, block_tokens: int) -> Placement:
    return load_layout(text).place(groups, TOKENS, PROMPT, STEPS, block_tokens)


@pytest.mark.parametrize("block_tokens", [4, 16])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("layout", VARIANTS)
def test_no_two_tokens_share_a_slot(layout: str, groups: str, block_tokens: int) -> None:
    placement = placed(layout, GROUPS[groups], block_tokens)
    assert placement.slot.shape[1] == TOKENS
    assert placement.epoch_of_step.shape == placement.moved_tokens.shape == (STEPS,)
    assert (placement.epoch_of_step.diff() >= 0).all()
    assert int(placement.epoch_of_step[-1]) == len(placement.slot) - 1
    for slot in placement.slot:
        assert len(slot.unique()) == TOKENS
        assert 0 <= int(slot.min()) <= int(slot.max()) < placement.slots
    assert placement.wasted_slots == placement.slots - TOKENS >= 0
    assert (placement.moved_tokens >= 0).all()
    assert (placement.moved_tokens <= PROMPT + torch.arange(STEPS)).all()


@pytest.mark.parametrize("block_tokens", [4, 6, 8, 16])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("layout", VARIANTS)
def test_touched_blocks_are_those_of_the_selected_tokens_slots(
    layout: str, groups: str, block_tokens: int
) -> None:
    placement = placed(layout, GROUPS[groups], block_tokens)
    mask = torch.rand((2, STEPS, TOKENS), generator=torch.Generator().manual_seed(1)) < 0.05
    touched = touched_blocks(mask, placement, block_tokens)
    expected = torch.zeros_like(touched)
    for q_head, step, token in mask.nonzero().tolist():
        slot = int(placement.slot[placement.epoch_of_step[step], token])
        expected[q_head, step, slot // block_tokens] = True
    assert torch.equal(touched, expected)


@pytest.mark.parametrize("layout", [one for one in VARIANTS if one.startswith("clustered")])
def test_before_the_first_cluster_tokens_lie_as_they_arrive(layout: str) -> None:
    placement = placed(layout, GROUPS["none yet"], 16)
    assert placement.slot.tolist() == [list(range(TOKENS))]
    assert placement.moved_tokens.tolist() == [0] * STEPS
    assert (placement.slots, placement.wasted_slots) == (TOKENS, 0)


def test_touched_blocks_do_not_depend_on_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    placement = placed("clustered:tail=arrival", GROUPS["groups"], 16)
    mask = torch.rand((2, STEPS, TOKENS), generator=torch.Generator().manual_seed(1)) < 0.05
    whole = touched_blocks(mask, placement, 16)
    monkeypatch.setattr("pimreplay.placement.blocks.TILE_BYTES", 1)
    assert torch.equal(touched_blocks(mask, placement, 16), whole)


@pytest.mark.parametrize("layout", VARIANTS)
def test_what_is_placed_does_not_move_again_until_it_is_charged(layout: str) -> None:
    placement = placed(layout, GROUPS["groups"], 16)
    for epoch in range(1, len(placement.slot)):
        step = int((placement.epoch_of_step == epoch).nonzero()[0])
        present = PROMPT + step
        changed = placement.slot[epoch, :present] != placement.slot[epoch - 1, :present]
        assert int(changed.sum()) == int(placement.moved_tokens[step])
    assert placement.moved_tokens.sum() == 0 or layout.startswith("clustered")


@pytest.mark.parametrize("name", NAMES)
def test_heads_lie_in_one_channel_unless_asked_otherwise(name: str) -> None:
    layout: Any = load_layout(name)
    assert layout.heads == "head_per_channel"
    assert placed(name, None, 16).heads == layout.heads
    assert load_layout(f"{name}:heads=token_interleaved").heads == "token_interleaved"


@pytest.mark.parametrize("name", NAMES)
def test_unknown_parameters_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"layout {name}: unknown parameter 'no_such'"):
        load_layout(f"{name}:no_such=1")


def test_blocks_are_dealt_out_over_channels() -> None:
    blocks = np.zeros((2, 7), dtype=np.bool_)
    blocks[0, [0, 3, 4]] = True
    blocks[1, 6] = True
    split = over_channels(blocks, 3)
    assert split.shape == (3, 2, 3)
    # block b is block b // 3 of channel b mod 3
    assert np.argwhere(split).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 0, 1]]
