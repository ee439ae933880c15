"""How full a KV cache makes the channels and stacks of a device."""

from collections.abc import Sequence
from dataclasses import dataclass

from pimreplay.cost.mapping import Mapping


@dataclass(frozen=True, slots=True)
class KvCache:
    """The KV cache of one request as a device must hold it, padding of layouts apart."""

    layers: tuple[Mapping, ...]
    """Of each layer that has keys and values of its own: how its heads lie."""
    kv_heads: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Bytes of whole DRAM rows that a cache takes, against what there is."""

    channel_bytes: int
    """Bytes of a channel."""
    fullest_channel_bytes: int
    """Bytes taken of the fullest channel of the fullest stack."""
    stack_bytes: int
    fullest_stack_bytes: int
    stacks: int
    stacks_needed: int
    """The least number of stacks in which no channel overflows; 0: no number of them will do."""

    @property
    def channel_ratio(self) -> float:
        """Share of the fullest channel that is taken."""
        return self.fullest_channel_bytes / self.channel_bytes

    @property
    def stack_ratio(self) -> float:
        """Share of the fullest stack that is taken."""
        return self.fullest_stack_bytes / self.stack_bytes


def occupancy(cache: KvCache, spread: int, stacks: int) -> Occupancy:
    """Return how full a cache makes its device.

    Layers are dealt out over the stacks; in each stack KV heads go round the channels, or lie in
    `spread` channels each.
    """
    device = cache.layers[0].device
    tokens = -(-cache.tokens // spread)
    sizes = {one: one.kv_head_bytes(tokens) for one in set(cache.layers)}
    head_bytes = [sizes[one] for one in cache.layers]
    # shares of one layer that the fullest channel and the whole stack hold
    in_channel = cache.kv_heads if spread > 1 else -(-cache.kv_heads // device.channels)
    fullest = _fullest(head_bytes, stacks)
    enough = (
        number
        for number in range(1, len(head_bytes) + 1)
        if in_channel * _fullest(head_bytes, number) <= device.channel_bytes
    )
    return Occupancy(
        channel_bytes=device.channel_bytes,
        fullest_channel_bytes=in_channel * fullest,
        stack_bytes=device.channels * device.channel_bytes,
        fullest_stack_bytes=cache.kv_heads * spread * fullest,
        stacks=stacks,
        stacks_needed=next(enough, 0),
    )


def _fullest(head_bytes: Sequence[int], stacks: int) -> int:
    """Return the bytes of one KV head in all layers of the fullest of so many stacks."""
    return max(sum(head_bytes[first::stacks]) for first in range(min(stacks, len(head_bytes))))
