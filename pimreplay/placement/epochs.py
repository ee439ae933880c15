"""Steps between two remappings."""

import torch
from torch import Tensor

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.records import Groups


def fixed(slot: Tensor, steps: int, heads: Heads) -> Placement:
    """Return a placement that never changes, without padding.

    Args:
        slot: Slot of each token, a permutation, (tokens,) int64.
        steps: Decode steps.
        heads: How KV heads lie on channels.
    """
    zeros = torch.zeros(steps, dtype=torch.int64)
    return Placement(slot[None], zeros, len(slot), zeros, 0, heads)


def arrival(tokens: int, steps: int, heads: Heads) -> Placement:
    """Return the placement of tokens as they arrive."""
    return fixed(torch.arange(tokens), steps, heads)


def remap_steps(groups: Groups, steps: int) -> tuple[Tensor, Tensor]:
    """Return (first step of each epoch, epoch of each step): (epochs,), (steps,) int64."""
    when = groups.step.cpu().clamp_min(0)
    first = torch.unique(torch.cat([when.new_zeros(1), when[when < steps]]))
    return first, torch.searchsorted(first, torch.arange(steps), right=True) - 1


def segment_of_token(groups: Groups) -> Tensor:
    """Return the segment each token belongs to, -1 for none: (tokens,) int64."""
    segment = torch.full((len(groups.label),), -1, dtype=torch.int64)
    start, stop = groups.start.cpu(), groups.stop.cpu()
    length = stop - start
    number = torch.arange(len(start)).repeat_interleave(length)
    offset = torch.arange(int(length.sum())) - (length.cumsum(0) - length)[number]
    segment[start[number] + offset] = number
    return segment


def by_token(values: Tensor, segment: Tensor, loose: Tensor | int) -> Tensor:
    """Return each token's segment's value, `loose` for a token of no segment: (tokens,).

    Args:
        values: One of each segment, (segments,); there may be none yet.
        segment: Segment of each token, -1 for none, (tokens,) int64.
        loose: What a token of no segment gets, (tokens,) or one number.
    """
    found = torch.cat([values.cpu(), torch.zeros(1, dtype=values.dtype)])
    return torch.where(segment >= 0, found[segment], loose)


def moves(slot: Tensor, first: Tensor, prompt_tokens: int, steps: int) -> Tensor:
    """Return how many tokens each step finds in another slot than the step before: (steps,).

    The first epoch is compared with arrival order: the prefill wrote the prompt so.

    Args:
        slot: (epochs, tokens) int64.
        first: First step of each epoch, (epochs,).
        prompt_tokens: Tokens there before step 0.
        steps: Decode steps.
    """
    before = torch.cat([torch.arange(slot.shape[1])[None], slot[:-1]])
    moved = torch.zeros(steps, dtype=torch.int64)
    for epoch, step in enumerate(first.tolist()):
        # the step's own token is written where it belongs at once
        present = prompt_tokens + step
        if step < steps:
            moved[step] = (before[epoch, :present] != slot[epoch, :present]).sum()
    return moved


def in_order(groups: Groups, *keys: Tensor) -> Tensor:
    """Return the tokens sorted by `keys` (first decides), then cluster, then place in it."""
    order = torch.arange(len(groups.label))
    rank = order if groups.rank is None else groups.rank.cpu()
    for key in (rank, groups.label.cpu(), *reversed(keys)):  # each sort is stable
        order = order[key[order].argsort(stable=True)]
    return order


def rank_in_cluster(groups: Groups) -> Tensor:
    """Return each token's place in its cluster, the policy's or token order: (tokens,) int64."""
    if groups.rank is not None:
        return groups.rank.cpu()
    label = groups.label.cpu()
    order = label.argsort(stable=True)
    size = torch.bincount(label + 1)
    begin = size.cumsum(0) - size
    rank = torch.empty_like(label)
    rank[order] = torch.arange(len(label)) - begin[label[order] + 1]
    return rank
