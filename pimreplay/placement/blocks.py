"""Slots and blocks: where the tokens of a KV head lie, and which blocks hold a selected one.

Slot s is lane s mod block_tokens of block s // block_tokens; a block is what one all-bank access
reads.

How KV heads lie on channels is a second choice, `heads`, that every layout takes:
`head_per_channel` keeps a KV head in one channel, as AttAcc does (its block b is block b of the
channel; KV heads beyond the channels take turns). `token_interleaved` spreads each KV head: block b
lies in channel b mod channels, as block b // channels there, so each channel reads a share of every
KV head, one after the other, and a step ends with the slowest channel. `over_channels` makes that
split.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Heads = Literal["head_per_channel", "token_interleaved"]
TILE_BYTES = 32 << 20
"""Bound on the reordered mask held at once."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the tokens of one KV head lie, and when that changes.

    An *epoch* is a run of steps between two remappings.
    """

    slot: Tensor
    """Slot of each token, (epochs, tokens) int64; tokens not yet seen have theirs already."""
    epoch_of_step: Tensor
    """(steps,) int64, never falling."""
    slots: int
    """Slots in use at the end, padding included."""
    moved_tokens: Tensor
    """Tokens whose key and value are rewritten elsewhere at each step, (steps,) int64."""
    wasted_slots: int = 0
    """Padding: slots below `slots` that never hold a token."""
    heads: Heads = "head_per_channel"


def channels_of(heads: Heads, of_device: int) -> int:
    """Return over how many channels a KV head is spread, on a device of so many."""
    return of_device if heads == "token_interleaved" else 1


def touched_blocks(mask: Tensor, placement: Placement, block_tokens: int) -> Tensor:
    """Return which blocks hold a selected token: (q_heads, steps, n_blocks) bool.

    Args:
        mask: Selected tokens, (q_heads, steps, tokens) bool.
        placement: Where the tokens lie.
        block_tokens: Slots of a block.
    """
    q_heads, steps, _ = mask.shape
    n_blocks = -(-placement.slots // block_tokens)
    found = torch.zeros((q_heads, steps, n_blocks), dtype=torch.bool, device=mask.device)
    size = max(1, TILE_BYTES // max(1, q_heads * n_blocks * block_tokens))
    for epoch in torch.unique(placement.epoch_of_step).tolist():
        gather = _gather(placement.slot[epoch].to(mask.device), n_blocks * block_tokens)
        inside = (placement.epoch_of_step == epoch).nonzero()[:, 0]
        for first in range(int(inside[0]), int(inside[-1]) + 1, size):
            part = slice(first, min(first + size, int(inside[-1]) + 1))
            found[:, part] = _any_in_block(_reorder(mask[:, part], *gather), block_tokens)
    return found


def over_channels(blocks: np.ndarray, channels: int) -> np.ndarray:
    """Split a KV head's blocks over channels for `token_interleaved` heads.

    Args:
        blocks: (points, n_blocks) bool.
        channels: Channels that share the KV head.

    Returns:
        (channels, points, ceil(n_blocks / channels)) bool: block b is block b // channels of
        channel b mod channels.
    """
    missing = -blocks.shape[1] % channels
    if missing:
        blocks = np.pad(blocks, ((0, 0), (0, missing)))
    shares = blocks.reshape(len(blocks), blocks.shape[1] // channels, channels)
    return np.ascontiguousarray(shares.transpose(2, 0, 1))


def _gather(slot: Tensor, slots: int) -> tuple[Tensor | None, Tensor | None]:
    """Return (token of each slot, which slots hold one); None for nothing to do."""
    tokens = len(slot)
    if slots >= tokens and bool((slot == torch.arange(tokens, device=slot.device)).all()):
        return None, None if slots == tokens else torch.arange(slots, device=slot.device) < tokens
    token = torch.zeros(slots, dtype=torch.int64, device=slot.device)
    token[slot] = torch.arange(tokens, device=slot.device)
    filled = torch.zeros(slots, dtype=torch.bool, device=slot.device)
    filled[slot] = True
    return token, None if bool(filled.all()) else filled


def _reorder(mask: Tensor, token: Tensor | None, filled: Tensor | None) -> Tensor:
    """Return the mask in slot order, empty slots False."""
    if token is None:
        if filled is None:
            return mask
        return torch.nn.functional.pad(mask, (0, len(filled) - mask.shape[-1]))
    if mask.device.type == "cpu":
        # numpy's take is several times faster on bytes than torch's index_select
        ordered = torch.from_numpy(np.take(mask.numpy(), token.numpy(), axis=-1))
    else:
        ordered = mask.index_select(-1, token)
    return ordered if filled is None else ordered.logical_and_(filled)


def _any_in_block(mask: Tensor, block_tokens: int) -> Tensor:
    """Reduce runs of `block_tokens` slots; eight bytes at a time where that divides."""
    if block_tokens % 8:
        return mask.reshape(*mask.shape[:-1], -1, block_tokens).any(dim=-1)
    words: Tensor = mask.contiguous().view(torch.int64)
    per_block = block_tokens // 8
    found = words[..., ::per_block]
    for word in range(1, per_block):
        found = found | words[..., word::per_block]
    return found != 0
