"""Small placements with the whole expected answer."""

import pytest
import torch

from pimreplay.layouts import load_layout
from pimreplay.records import Groups

# tokens 0 1 | window 2..7 in clusters 0, 1 | decoded window 8..11 in clusters 2, 3 | tail 12 13
LABEL = torch.tensor([-1, -1, 1, 0, 1, 0, 0, 1, 3, 2, 2, 3, -1, -1])
GROUPS = Groups(
    start=torch.tensor([2, 8]),
    stop=torch.tensor([8, 12]),
    step=torch.tensor([-1, 4]),  # the decoded window is complete with the token of step 4
    label=LABEL,
)
PROMPT, STEPS = 7, 7


def slots(layout: str, groups: Groups | None = GROUPS) -> tuple[list[list[int]], list[int]]:
    placement = load_layout(layout).place(groups, 14, PROMPT, STEPS, 4)
    return placement.slot.tolist(), placement.moved_tokens.tolist()


def test_clusters_follow_one_another_inside_their_windows() -> None:
    slot, moved = slots("clustered")
    #              0  1 | 2  3  4  5  6  7 | 8   9  10  11 | 12  13
    assert slot == [[0, 1, 5, 2, 6, 3, 4, 7, 10, 8, 9, 11, 12, 13]]
    # prompt tokens 2..6 change their place at once, 8, 9 and 10 when their window is clustered
    assert moved == [5, 0, 0, 0, 3, 0, 0]


def test_a_tail_in_arrival_order_is_reordered_at_its_step() -> None:
    placement = load_layout("clustered:tail=arrival").place(GROUPS, 14, PROMPT, STEPS, 4)
    before = [0, 1, 5, 2, 6, 3, 4, 7, 8, 9, 10, 11, 12, 13]
    after = [0, 1, 5, 2, 6, 3, 4, 7, 10, 8, 9, 11, 12, 13]
    assert placement.slot.tolist() == [before, after]
    assert placement.epoch_of_step.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert placement.moved_tokens.tolist() == [5, 0, 0, 0, 3, 0, 0]


def test_the_stored_order_of_a_cluster_is_the_policys() -> None:
    rank = torch.tensor([0, 0, 2, 1, 0, 2, 0, 1, 0, 0, 1, 1, 0, 0])
    groups = Groups(GROUPS.start, GROUPS.stop, GROUPS.step, LABEL, rank)
    slot, _ = slots("clustered", groups)
    assert slot == [[0, 1, 7, 3, 5, 4, 2, 6, 10, 8, 9, 11, 12, 13]]


def test_padded_clusters_start_on_block_boundaries() -> None:
    placement = load_layout("clustered_aligned").place(GROUPS, 14, PROMPT, STEPS, 4)
    # sinks in block 0; clusters 0..3 in blocks 1..4; the tail in block 5
    assert placement.slot.tolist() == [[0, 1, 8, 4, 9, 5, 6, 10, 16, 12, 13, 17, 20, 21]]
    assert (placement.slots, placement.wasted_slots) == (22, 8)


def test_shared_remainders_waste_less() -> None:
    label = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1])  # two clusters of six
    groups = Groups(torch.tensor([0]), torch.tensor([12]), torch.tensor([-1]), label)
    place = load_layout("clustered_aligned:remainder=share").place
    placement = place(groups, 12, 12, 0, 4)
    # four tokens of each cluster fill a block; the last two of each share the third
    assert placement.slot.tolist() == [[0, 4, 1, 2, 5, 3, 8, 6, 7, 10, 9, 11]]
    assert placement.wasted_slots == 0
    padded = load_layout("clustered_aligned").place(groups, 12, 12, 0, 4)
    assert padded.wasted_slots == 2  # behind the first cluster; nothing follows the second


@pytest.mark.parametrize("layout", ["clustered", "clustered_aligned"])
def test_without_groups_tokens_lie_as_they_arrive(layout: str) -> None:
    assert slots(layout, None) == ([list(range(14))], [0] * STEPS)


def test_random_keeps_prompt_and_decoded_tokens_apart() -> None:
    slot = torch.tensor(slots("random:seed=3")[0][0])
    assert sorted(slot[:PROMPT].tolist()) == list(range(PROMPT))
    assert slot.tolist() != list(range(14))
    assert slots("random:seed=3") == slots("random:seed=3") != slots("random:seed=4")
