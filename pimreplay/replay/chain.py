"""The chain of one KV head, written once: policy -> layout -> blocks -> cost.

Replays, `explain` and the step inspector all go through here.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pimreplay.cost.channels import KvHeadCost, kv_head_cost
from pimreplay.cost.mapping import Mapping
from pimreplay.layouts import Layout
from pimreplay.placement.blocks import Placement, channels_of, touched_blocks
from pimreplay.policies import Policy
from pimreplay.records import KvHeadTrace, Overhead, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.masks import union
from pimreplay.selection.recall import seen_tokens


def select(head: KvHeadTrace, policy: Policy, budget: Budget) -> Selection:
    """Return a policy's selection of one KV head, inside what each step may see."""
    selection = policy.select(head, budget)
    if head.sliding_window is not None:
        selection.mask.logical_and_(seen_tokens(head)[None])
    return selection


def dense_selection(head: KvHeadTrace) -> Selection:
    """Return everything that each step may see, at no overhead."""
    none = torch.zeros(head.steps, dtype=torch.int64)
    mask = seen_tokens(head)[None].expand(head.q_heads, -1, -1)
    return Selection(mask, None, Overhead(none, none, none, none, none))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one region that a selection touches, and where its tokens lie."""

    placement: Placement
    touched: Tensor
    """Blocks that each query head's tokens lie in, (q_heads, steps, n_blocks) bool."""
    read: Tensor
    """Blocks that any of them needs, (steps, n_blocks) bool."""

    @property
    def q_heads(self) -> int:
        """Query heads of the group."""
        return len(self.touched)


@dataclass(frozen=True, slots=True)
class Placed:
    """A selection of one KV head laid out on a device."""

    mapping: Mapping
    keys: Blocks
    values: Blocks

    @property
    def spread(self) -> int:
        """Channels over which the layout spreads one KV head."""
        return channels_of(self.keys.placement.heads, self.mapping.device.channels)

    @property
    def moved_tokens(self) -> Tensor:
        """Tokens that the layout rewrites at each step, key and value together, (steps,) float."""
        moved = self.keys.placement.moved_tokens + self.values.placement.moved_tokens
        return moved.double() / 2

    def readings(self, blocks: Blocks, steps: slice = slice(None)) -> np.ndarray:
        """Return the blocks of each reading: one for all query heads, or one each."""
        if self.mapping.together:
            return blocks.read[None, steps].cpu().numpy()
        return blocks.touched[:, steps].cpu().numpy()

    def cost(self, fidelity: str, steps: slice = slice(None)) -> KvHeadCost:
        """Return what reading the blocks costs at some of the steps."""
        keys = self.readings(self.keys, steps)
        values = keys if self.values is self.keys else self.readings(self.values, steps)
        cost_of = partial(self.mapping.cost, q_heads=self.keys.q_heads, fidelity=fidelity)
        return kv_head_cost(cost_of, keys, values, self.spread)


def find_blocks(
    head: KvHeadTrace, selection: Selection, layout: Layout, block_tokens: int
) -> Blocks:
    """Lay a region out in blocks and find those that the selected tokens lie in."""
    placement = layout.place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, block_tokens
    )
    touched = touched_blocks(selection.mask, placement, block_tokens)
    return Blocks(placement, touched, union(touched))


def place(head: KvHeadTrace, selection: Selection, layout: Layout, mapping: Mapping) -> Placed:
    """Lay a KV head out: keys and values in blocks of their own, alike where these are alike."""
    keys = values = find_blocks(head, selection, layout, mapping.keys.block_tokens)
    if mapping.values.block_tokens != mapping.keys.block_tokens:
        values = find_blocks(head, selection, layout, mapping.values.block_tokens)
    return Placed(mapping, keys, values)
