"""The order of equal labels is that of the sort behind PyTorch on a CPU."""

import pytest
import torch

from pimreplay.selection import stored_order as _stored_order
from pimreplay.selection.stored_order import artefact_order, introsorted


def test_short_rows_are_sorted_stably() -> None:
    assert introsorted([2, 0, 1, 0, 2, 1]) == [1, 3, 2, 5, 0, 4]


def test_equal_labels_of_longer_rows_are_out_of_order() -> None:
    assert introsorted([0] * 17) == [8, 16, 15, 14, 13, 12, 11, 10, 9, 0, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("n", [1, 16, 17, 57, 64, 200])
def test_both_ways_give_one_order(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    label = torch.randint(0, 4, (6, n), generator=torch.Generator().manual_seed(n))
    fast = artefact_order(label)
    monkeypatch.setattr(_stored_order, "_torch_is_introsort", lambda: False)
    assert torch.equal(fast, artefact_order(label))
    ordered = label.gather(1, fast)
    assert (ordered.diff(dim=1) >= 0).all()
