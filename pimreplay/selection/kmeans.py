"""k-means of keys: many small windows in one batch, or one large set.

Lloyd's algorithm with the choices that the clustering policies differ in. Nothing here knows of
policies; everything is float32 and deterministic.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pimreplay.selection.remembered import remembered

DISTANCE_BYTES = 8 << 20
"""Bound on the distance matrix held at once: it stays in the cache until it is reduced."""
ONE_HOT_CLUSTERS = 32
"""Up to so many clusters a window, sums by a product with the one-hot labels are the faster."""

Empty = Literal["zero", "keep"]
"""What becomes of a cluster without points: its centroid is zero, or stays where it was."""
Metric = Literal["euclidean", "cosine"]
"""What the nearest centroid is; means are those of the points as they are in either case."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """Result of k-means over a batch of windows."""

    label: Tensor
    """Cluster of each point within its window, (windows, points) int64."""
    centroid: Tensor
    """Means of the points of each cluster, (windows, clusters, dim)."""
    iterations: int
    """Most iterations that any window needed."""
    assignments: int
    """Iterations of all windows together: what the clustering cost."""


@remembered
def kmeans(
    points: Tensor,
    start: Tensor,
    iterations: int,
    empty: Empty = "zero",
    tolerance: float = 1e-4,
    metric: Metric = "euclidean",
) -> Clustering:
    """Run Lloyd's algorithm from given centroids.

    A window stops when no centroid moved by more than `tolerance` + 1e-5 of its size; the labels
    are those of its last assignment and the centroids the means under them.

    Args:
        points: (windows, points, dim) float32.
        start: First centroids, (windows, clusters, dim).
        iterations: At most so many assignments.
        empty: Fate of clusters without points.
        tolerance: Absolute movement that counts as none.
        metric: What the nearest centroid is.
    """
    compared = normalize(points, dim=-1) if metric == "cosine" else points
    centroid = start.clone()
    label = torch.zeros(points.shape[:2], dtype=torch.int64, device=points.device)
    active = torch.arange(len(points), device=points.device)
    live = torch.ones(len(points), dtype=torch.bool, device=points.device)
    before, used, assignments = start, 0, 0
    for _ in range(iterations):
        if not bool(live.any()):
            break
        used += 1
        assignments += int(live.sum())
        now = assign(compared, normalize(before, dim=-1) if metric == "cosine" else before)
        after = means(points, now, before, empty)
        label[active[live]], centroid[active[live]] = now[live], after[live]
        moved = ((after - before).abs() > tolerance + 1e-5 * after.abs()).flatten(1).any(dim=1)
        live &= moved
        before = after
        if 2 * int(live.sum()) < len(live):  # copying the rest costs more than an iteration
            active, before = active[live], before[live]
            same = compared is points
            points = points[live]
            compared = points if same else compared[live]
            live = live[live]
    return Clustering(label, centroid, used, assignments)


def assign(points: Tensor, centroid: Tensor) -> Tensor:
    """Return the nearest centroid of each point, the lower index when equal.

    Args:
        points: (windows, points, dim).
        centroid: (windows, clusters, dim).

    Returns:
        (windows, points) int64.
    """
    half_norm = centroid.square().sum(-1)[:, None] / 2  # (windows, 1, clusters)
    return _nearest(points, centroid, half_norm)


def largest_product(points: Tensor, centroid: Tensor) -> Tensor:
    """Return the centroid of the largest inner product for each point, as `assign` does."""
    return _nearest(points, centroid, torch.zeros((), device=points.device).expand(1, 1, 1))


def _nearest(points: Tensor, centroid: Tensor, offset: Tensor) -> Tensor:
    """Return the centroid with the smallest offset less product, in slices of points."""
    windows, n, _ = points.shape
    turned = centroid.transpose(1, 2)
    label = torch.empty((windows, n), dtype=torch.int64, device=points.device)
    size = max(1, DISTANCE_BYTES // (4 * windows * centroid.shape[1]))
    for first in range(0, n, size):
        part = slice(first, first + size)
        label[:, part] = _smallest(torch.baddbmm(offset, points[:, part], turned, alpha=-1))
    return label


def _smallest(values: Tensor) -> Tensor:
    """Return the place of each row's smallest value, the first when equal."""
    if values.device.type != "cpu":
        return values.argmin(dim=-1)
    # numpy's argmin uses vector instructions: several times faster than torch's on wide rows
    return torch.from_numpy(values.numpy().argmin(axis=-1))


def means(points: Tensor, label: Tensor, before: Tensor, empty: Empty = "zero") -> Tensor:
    """Return the mean of each cluster's points: (windows, clusters, dim).

    Args:
        points: (windows, points, dim).
        label: (windows, points) int64.
        before: Centroids until now, for clusters without points when `empty` is `keep`.
        empty: Fate of clusters without points.
    """
    windows, clusters, dim = before.shape
    if clusters <= ONE_HOT_CLUSTERS:
        one_hot = torch.zeros((*label.shape, clusters), device=points.device)
        one_hot.scatter_(2, label[..., None], 1.0)
        count = one_hot.sum(1)
        total = one_hot.transpose(1, 2) @ points
    else:
        flat = (label + clusters * torch.arange(windows, device=label.device)[:, None]).flatten()
        total = torch.zeros((windows * clusters, dim), device=points.device)
        total.index_add_(0, flat, points.reshape(-1, dim))
        total = total.view(windows, clusters, dim)
        count = torch.bincount(flat, minlength=windows * clusters).view(windows, clusters)
    mean = total / count.clamp_min(1)[..., None]
    if empty == "keep":
        mean = torch.where(count[..., None] > 0, mean, before)
    return mean


def plus_plus(points: Tensor, clusters: int, seed: int) -> Tensor:
    """Choose first centroids by k-means++: (windows, clusters, dim).

    Each is a point drawn with probability proportional to its squared distance from those chosen
    before. Arthur and Vassilvitskii, SODA 2007.
    """
    windows, n, dim = points.shape
    random = torch.Generator(device="cpu").manual_seed(seed)
    draws = torch.rand((clusters, windows), generator=random).to(points.device)
    norm = points.square().sum(-1)
    nearest = torch.full((windows, n), float("inf"), device=points.device)
    chosen = torch.empty((windows, clusters, dim), device=points.device)
    window = torch.arange(windows, device=points.device)
    index = (draws[0] * n).long().clamp_max(n - 1)
    for cluster in range(clusters):
        centre = points[window, index]
        chosen[:, cluster] = centre
        if cluster + 1 == clusters:
            break
        product = (points @ centre[..., None])[..., 0]
        distance = norm + centre.square().sum(-1, keepdim=True) - 2 * product
        nearest = torch.minimum(nearest, distance.clamp_min_(0))
        weight = nearest.cumsum(1)
        target = draws[cluster + 1][:, None] * weight[:, -1:]
        index = torch.searchsorted(weight, target, right=True)[:, 0].clamp_max(n - 1)
    return chosen
