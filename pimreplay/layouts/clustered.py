"""Clusters one after the other without padding: STARC's layout.

Fan et al., ASPLOS 2026 (doi 10.1145/3779212.3790226): the tokens of a clustered window are
rewritten in cluster order within the window's own slots.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import (
    arrival,
    by_token,
    in_order,
    moves,
    remap_steps,
    segment_of_token,
)
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class Clustered:
    """Cluster order, no padding; arrival order where the policy knows no groups."""

    tail: Literal["final", "arrival"] = "final"
    """Where a decoded token lies until its window is clustered.

    `final`: in the slot that the clustering will give it, as the block counts published with
    STARC's public artefact are measured: one placement for all steps, about one block a step
    more than a device would read. `arrival`: in arrival order until then, as on a device.
    The rewriting is charged to the step of the clustering either way.
    """
    heads: Heads = "head_per_channel"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place the tokens of each segment in cluster order."""
        if groups is None:
            return arrival(tokens, steps, self.heads)
        segment = segment_of_token(groups)
        token = torch.arange(tokens)
        base = by_token(groups.start, segment, token)
        ordered = torch.empty_like(token)
        ordered[in_order(groups, base)] = token
        first, epoch_of_step = remap_steps(groups, steps)
        when = by_token(groups.step.clamp_min(0), segment, steps)
        slot = torch.where(when[None] <= first[:, None], ordered, token)
        moved = moves(slot, first, prompt_tokens, steps)
        if self.tail == "final":
            slot, epoch_of_step = slot[-1:], torch.zeros_like(epoch_of_step)
        return Placement(slot, epoch_of_step, tokens, moved, 0, self.heads)
