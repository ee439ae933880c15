"""Work on the same numbers is done once, and only where that is asked for."""

import torch

from pimreplay.selection.kmeans import kmeans
from pimreplay.selection.remembered import remembered, remembering

calls: list[float] = []


@remembered
def total(numbers: torch.Tensor, factor: float = 1.0) -> float:
    calls.append(factor)
    return float(numbers.sum()) * factor


def test_equal_numbers_are_worked_on_once_inside_the_block() -> None:
    calls.clear()
    numbers = torch.arange(4.0)
    with remembering():
        assert [total(numbers), total(numbers.clone()), total(numbers, 2.0)] == [6, 6, 12]
        assert calls == [1.0, 2.0]
        numbers[0] = 1
        assert total(numbers) == 7
        assert total(numbers.view(2, 2)) == 7  # the same numbers in another shape are others
        assert total(numbers.double()) == 7
        assert len(calls) == 5
    with remembering():
        assert total(numbers) == 7
    assert total(numbers) == 7
    assert len(calls) == 7


def test_views_of_equal_numbers_are_equal() -> None:
    calls.clear()
    wide = torch.arange(8.0).view(4, 2)
    with remembering():
        assert total(wide[:, 0]) == total(torch.tensor([0.0, 2.0, 4.0, 6.0])) == 12
        assert calls == [1.0]


def test_a_clustering_is_the_same_remembered_or_not() -> None:
    points = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    fresh = kmeans(points, points[:, :4], 10)
    with remembering():
        first = kmeans(points, points[:, :4], 10)
        assert kmeans(points.clone(), points[:, :4], 10) is first
        assert kmeans(points, points[:, :4], 10, metric="cosine") is not first
        assert kmeans(points, points[:, 4:8], 10) is not first
    assert torch.equal(fresh.label, first.label)
    assert torch.equal(fresh.centroid, first.centroid)
