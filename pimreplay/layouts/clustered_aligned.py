"""Clusters that start on block boundaries: fewer blocks a cluster, at the price of empty slots."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import (
    arrival,
    by_token,
    in_order,
    moves,
    rank_in_cluster,
    remap_steps,
    segment_of_token,
)
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class ClusteredAligned:
    """Cluster order in whole blocks; `Placement.wasted_slots` says what the padding costs.

    A cluster of n tokens touches at most ceil(n / block_tokens) blocks, one less than where
    clusters start anywhere. Tokens outside any segment (sinks, the tail) start on a boundary too.
    """

    remainder: Literal["pad", "share"] = "pad"
    """What a cluster does not fill: `pad` leaves it empty; `share` gives each cluster its full
    blocks only and puts the remainders of a segment's clusters together behind them."""
    tail: Literal["final", "arrival"] = "final"
    """As in `clustered`."""
    heads: Heads = "head_per_channel"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place clusters on block boundaries."""
        if groups is None:
            return arrival(tokens, steps, self.heads)
        first, epoch_of_step = remap_steps(groups, steps)
        segment = segment_of_token(groups)
        when = by_token(groups.step.clamp_min(0), segment, steps)
        placed = [
            self._place(groups, torch.where(when <= step, segment, -1), block_tokens)
            for step in first.tolist()
        ]
        slot = torch.stack(placed)
        moved = moves(slot, first, prompt_tokens, steps)
        if self.tail == "final":
            slot, epoch_of_step = slot[-1:], torch.zeros_like(epoch_of_step)
        slots = int(slot.max()) + 1 if slot.numel() else 0
        wasted = slots - tokens if slot.numel() else 0
        return Placement(slot, epoch_of_step, slots, moved, wasted, self.heads)

    def _place(self, groups: Groups, segment: Tensor, block_tokens: int) -> Tensor:
        """Return the slot of each token when only the given segments are in order."""
        token = torch.arange(len(segment))
        grouped = segment >= 0
        base = by_token(groups.start, segment, token)
        label = groups.label.cpu()
        part = torch.zeros_like(token)
        if self.remainder == "share":
            size = torch.bincount(label + 1)
            rank = rank_in_cluster(groups)
            full = size[label + 1] // block_tokens * block_tokens
            part = (grouped & (rank >= full)).long()
        order = in_order(groups, base, part)
        # a piece starts on a boundary: a cluster, a segment's remainders, a run of loose tokens
        base, part, grouped = base[order], part[order], grouped[order]
        piece_id = torch.where(part == 1, -2, torch.where(grouped, label[order], -1))
        new = torch.ones_like(grouped)
        new[1:] = piece_id[1:] != piece_id[:-1]
        new[1:] |= (part[1:] == 1) & (base[1:] != base[:-1])
        piece = new.cumsum(0) - 1
        size = torch.bincount(piece)
        room = -(-size // block_tokens) * block_tokens
        begin = room.cumsum(0) - room
        place = token - (size.cumsum(0) - size)[piece]
        slot = torch.empty_like(token)
        slot[order] = begin[piece] + place
        return slot
