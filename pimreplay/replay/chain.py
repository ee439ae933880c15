"""The chain of one KV head, written once: policy -> layout -> blocks -> cost.

Replays, `explain` and the step inspector all go through here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pimreplay.cost.channels import KvHeadCost, kv_head_cost
from pimreplay.hardware.device import Geometry
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
class Placed:
    """A selection of one KV head laid out on a device."""

    geometry: Geometry
    placement: Placement
    touched: Tensor
    """Blocks that each query head's tokens lie in, (q_heads, steps, n_blocks) bool."""
    read: Tensor
    """Blocks that any of them needs, which the banks read, (steps, n_blocks) bool."""

    @property
    def spread(self) -> int:
        """Channels over which the layout spreads one KV head."""
        return channels_of(self.placement.heads, self.geometry.hardware.organisation.channels)

    def cost(self, fidelity: str, steps: slice = slice(None)) -> KvHeadCost:
        """Return what reading the blocks costs at some of the steps."""
        blocks = self.read[steps].cpu().numpy()
        return kv_head_cost(self.geometry, blocks, len(self.touched), fidelity, self.spread)


def place(head: KvHeadTrace, selection: Selection, layout: Layout, geometry: Geometry) -> Placed:
    """Lay a KV head out and find the blocks that its selected tokens lie in."""
    placement = layout.place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, geometry.block_tokens
    )
    touched = touched_blocks(selection.mask, placement, geometry.block_tokens)
    return Placed(geometry, placement, touched, union(touched))
