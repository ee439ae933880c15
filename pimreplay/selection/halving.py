"""Order keys so that every run of a block's length holds keys that point in one direction.

All keys are split at the median along the direction in which they differ most, the halves again,
until a part is one block: a balanced tree whose leaves are blocks as the memory reads them.
"""

import math

import torch
from torch import Tensor


def halved(points: Tensor, block: int, iterations: int) -> Tensor:
    """Return the order of points in which each run of `block` is a leaf: (points,) int64.

    Args:
        points: (points, dim) float32, a multiple of `block` of them.
        block: Points of a leaf.
        iterations: Steps of the power iteration that finds a direction.
    """
    order = torch.arange(len(points), device=points.device)
    nodes = [(0, len(points) // block)]
    while nodes := [node for node in nodes if node[1] > 1]:
        # the nodes of one level differ by one block at most, so these are two batches
        for blocks in sorted({size for _, size in nodes}):
            first = torch.tensor([start for start, size in nodes if size == blocks])
            index = first.to(order.device)[:, None] * block + torch.arange(
                blocks * block, device=order.device
            )
            held = order[index]
            along = _along_first_direction(points[held], iterations)
            order[index] = held.gather(1, along.argsort(dim=1, stable=True))
        nodes = [half for node in nodes for half in _halves(*node)]
    return order


def flops(points: int, block: int, dim: int, iterations: int) -> int:
    """Return the arithmetic of `halved`, a comparison of the sort counted as one operation."""
    blocks, total = [points // block], 0
    while blocks := [one for one in blocks if one > 1]:
        for size in (count * block for count in blocks):
            total += size * dim * (2 + 4 * iterations + 2) + size * math.ceil(math.log2(size))
        blocks = [half for one in blocks for _, half in _halves(0, one)]
    return total


def _halves(start: int, blocks: int) -> tuple[tuple[int, int], tuple[int, int]]:
    left = (blocks + 1) // 2
    return (start, left), (start + left, blocks - left)


def _along_first_direction(points: Tensor, iterations: int) -> Tensor:
    """Return the places of each node's points along its first principal direction.

    Args:
        points: (nodes, points, dim).
        iterations: Steps from the point that is farthest from the mean.

    Returns:
        (nodes, points).
    """
    centred = points - points.mean(1, keepdim=True)
    farthest = centred.square().sum(-1).argmax(1)
    direction = centred[torch.arange(len(points), device=points.device), farthest][..., None]
    for _ in range(iterations):
        direction = torch.nn.functional.normalize(direction, dim=1)
        direction = centred.transpose(1, 2) @ (centred @ direction)
    return (centred @ direction)[..., 0]
