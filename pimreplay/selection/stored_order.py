"""The order in which STARC's artefact leaves the tokens of a clustered window.

The artefact sorts a window's labels with PyTorch's `argsort` (EPIC-RPI/STARC @ 30d4ce9,
`cluster_on_every_head`), which is not stable. The last cluster of a selection is cut in the order
in which equal labels come out, so reproducing its masks means reproducing that order. PyTorch on
a CPU uses C++ `std::sort`, in GNU's library an introsort; spelled out in `introsorted` it is the
same on every machine, and is used wherever PyTorch does otherwise.
"""

from functools import lru_cache

import torch
from torch import Tensor

_INSERTION_POINTS = 16
"""Runs up to this length are left to the insertion sort at the end (`_S_threshold`)."""


def artefact_order(label: Tensor) -> Tensor:
    """Return the tokens of each window, sorted by label: (windows, tokens) int64.

    Args:
        label: Cluster of each token within its window, (windows, tokens) int64.
    """
    rows = label.cpu()
    if _torch_is_introsort():
        order = rows.argsort(dim=1)
    else:
        order = torch.tensor([introsorted(row) for row in rows.tolist()]).view(rows.shape)
    return order.to(label.device)


@lru_cache(maxsize=1)
def _torch_is_introsort() -> bool:
    probe = torch.arange(64).mul(37).remainder(5)  # five labels, all scattered
    return bool((probe[None].argsort(dim=1)[0] == torch.tensor(introsorted(probe.tolist()))).all())


def introsorted(key: list[int]) -> list[int]:
    """Return the indices that GNU's `std::sort` puts the keys in.

    Quicksort with the median of three as pivot down to runs of 16, then one insertion sort
    (libstdc++ bits/stl_algo.h, `__introsort_loop`, `__final_insertion_sort`). Its heap sort for
    unlucky depths is left out: labels of a few values never get there.
    """
    order = list(range(len(key)))
    stack = [(0, len(order))]
    while stack:
        first, last = stack.pop()
        if last - first > _INSERTION_POINTS:
            cut = _partition(key, order, first, last)
            stack += [(first, cut), (cut, last)]
    for end in range(1, len(order)):  # insertion is stable: only smaller keys are passed
        moving, place = order[end], end
        while place and key[moving] < key[order[place - 1]]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = moving
    return order


def _partition(key: list[int], order: list[int], first: int, last: int) -> int:
    """Put the median of three in front and part the rest around it; return the cut."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    if key[order[a]] < key[order[b]]:
        median = _middle(key, order, a, b, c)
    else:
        median = _middle(key, order, b, a, c)
    order[first], order[median] = order[median], order[first]
    pivot = key[order[first]]
    low, high = first + 1, last
    while True:
        while key[order[low]] < pivot:
            low += 1
        high -= 1
        while pivot < key[order[high]]:
            high -= 1
        if low >= high:
            return low
        order[low], order[high] = order[high], order[low]
        low += 1


def _middle(key: list[int], order: list[int], low: int, high: int, third: int) -> int:
    """Return which of three places holds the median, given that low's key is not above high's."""
    if key[order[high]] < key[order[third]]:
        return high
    return third if key[order[low]] < key[order[third]] else low
