"""k-means: whole answers on points that can be clustered by hand, and its invariants."""

from itertools import pairwise

import pytest
import torch

from pimreplay.selection import kmeans as clustering
from pimreplay.selection.kmeans import assign, kmeans, largest_product, means, plus_plus


def test_two_pairs_of_points_become_two_clusters() -> None:
    points = torch.tensor([[[0.0, 0.0], [4.0, 4.0], [0.0, 1.0], [4.0, 5.0]]])
    found = kmeans(points, points[:, :2], 10)
    assert found.label.tolist() == [[0, 1, 0, 1]]
    assert found.centroid.tolist() == [[[0.0, 0.5], [4.0, 4.5]]]
    assert found.iterations == found.assignments == 2


def test_an_empty_cluster_is_zero_or_stays_as_asked() -> None:
    points = torch.tensor([[[1.0], [1.2]]])
    start = torch.tensor([[[1.1], [9.0]]])
    assert kmeans(points, start, 3).centroid[0, 1].tolist() == [0.0]
    assert kmeans(points, start, 3, empty="keep").centroid[0, 1].tolist() == [9.0]


def test_equal_distances_go_to_the_first_centroid() -> None:
    assert assign(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])).item() == 0


def test_cosine_looks_at_directions_and_averages_the_points_themselves() -> None:
    points = torch.tensor([[[1.0, 0.0], [10.0, 1.0], [0.0, 2.0]]])
    found = kmeans(points, points[:, [0, 2]], 5, metric="cosine")
    assert found.label.tolist() == [[0, 0, 1]]
    assert found.centroid.tolist() == [[[5.5, 0.5], [0.0, 2.0]]]


def random_windows(windows: int = 40, n: int = 30, dim: int = 6) -> torch.Tensor:
    return torch.randn((windows, n, dim), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_windows_do_not_influence_one_another(metric: clustering.Metric) -> None:
    points = random_windows()
    together = kmeans(points, points[:, :4], 12, metric=metric)
    for window in range(len(points)):
        alone = kmeans(points[window, None], points[window, None, :4], 12, metric=metric)
        assert torch.equal(alone.label[0], together.label[window])
        torch.testing.assert_close(alone.centroid[0], together.centroid[window])


def test_the_work_of_windows_that_stop_early_is_not_counted() -> None:
    easy, hard = (
        torch.tensor([[0.0], [9.0], [0.1], [9.1]]),
        torch.tensor([[0.0], [1.0], [2.0], [9.0]]),
    )
    points = torch.stack([easy, hard])
    found = kmeans(points, points[:, :2], 10)
    alone = [kmeans(one[None], one[None, :2], 10).iterations for one in (easy, hard)]
    assert alone[0] < alone[1]
    assert (found.iterations, found.assignments) == (alone[1], sum(alone))


def test_every_iteration_brings_points_nearer_to_their_centroids() -> None:
    points = random_windows()
    spread = []
    for iterations in range(1, 8):
        found = kmeans(points, points[:, :4], iterations, empty="keep")
        own = found.centroid.gather(1, found.label[..., None].expand(-1, -1, points.shape[2]))
        spread.append(float((points - own).square().sum()))
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(spread))


def test_slices_of_points_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_windows()
    near, far = assign(points, points[:, :5]), largest_product(points, points[:, :5])
    monkeypatch.setattr(clustering, "DISTANCE_BYTES", 1)
    assert torch.equal(assign(points, points[:, :5]), near)
    assert torch.equal(largest_product(points, points[:, :5]), far)


def test_both_ways_of_summing_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_windows()
    start = points[:, :5]
    label = assign(points, start)
    small = means(points, label, start)
    monkeypatch.setattr(clustering, "ONE_HOT_CLUSTERS", 0)
    torch.testing.assert_close(means(points, label, start), small)


def test_seeded_first_centroids_are_distinct_points_and_repeatable() -> None:
    points = random_windows(3, 20)
    chosen = plus_plus(points, 20, seed=1)
    for window in range(3):
        taken = {tuple(point.tolist()) for point in chosen[window]}
        assert taken == {tuple(point.tolist()) for point in points[window]}
    assert torch.equal(chosen, plus_plus(points, 20, seed=1))
    assert not torch.equal(chosen, plus_plus(points, 20, seed=2))
