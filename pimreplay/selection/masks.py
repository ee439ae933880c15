"""Counting in boolean tensors, by the ways that are fast: torch's own are ten times slower."""

from functools import reduce

import numpy as np
import torch
from torch import Tensor


def count_true(mask: Tensor) -> Tensor:
    """Return how many are True along the last axis, int64."""
    if mask.device.type != "cpu":
        return mask.sum(dim=-1)
    counts = mask.contiguous().numpy().view(np.uint8).sum(axis=-1, dtype=np.int32)
    return torch.from_numpy(counts.astype(np.int64))


def union(mask: Tensor) -> Tensor:
    """Return what is True for any of the first axis: (q_heads, ...) to (...)."""
    return reduce(torch.logical_or, mask.unbind(0))


def packed(mask: Tensor) -> np.ndarray:
    """Return `numpy.packbits` along the last axis."""
    return np.packbits(mask.cpu().numpy(), axis=-1)
