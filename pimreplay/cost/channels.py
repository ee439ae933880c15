"""KV heads on channels: one alone in a channel or spread over several, and a layer over all."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.energy_parts import Energy
from pimreplay.cost.step_cost import StepCost
from pimreplay.hardware.device import Device
from pimreplay.placement.blocks import over_channels

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KvHeadCost:
    """Cost of one KV head, in one channel or spread over several."""

    total: StepCost
    """(steps,): times of the slowest channel, counts and energies of all together."""
    channel_cycles: IntArray
    """(channels, steps)."""
    hidden_cycles: IntArray
    """Those of them that another KV head of the same channel can hide, (channels, steps)."""


def kv_head_cost(
    cost_of: Callable[[BoolArray, BoolArray], StepCost],
    keys: BoolArray,
    values: BoolArray,
    spread: int,
) -> KvHeadCost:
    """Return what reading the blocks of one KV head costs, the head spread over channels.

    With `spread` channels, block b of a region lies in channel b mod spread, and a step of the KV
    head ends with the slowest of them. Joining their softmaxes is not modelled.

    Args:
        cost_of: Cost of reading blocks of keys and of values in one channel, each (readings,
            points, n_blocks).
        keys: Blocks of keys, (readings, steps, n_blocks).
        values: Blocks of values; the same array where the regions have the same blocks.
        spread: Channels that share the KV head.
    """
    steps = keys.shape[1]
    key_shares = _shares(keys, spread)
    cost = cost_of(key_shares, key_shares if values is keys else _shares(values, spread))
    cycles = cost.cycles.reshape(spread, steps)
    hidden = cost.hidden_cycles.reshape(spread, steps)
    slowest = cycles.argmax(axis=0)

    def joined(name: str) -> Any:
        """Return times of the slowest channel and the sum of counts; None: unknown."""
        of_shares: IntArray | None = getattr(cost, name)
        if of_shares is None:
            return None
        values = of_shares.reshape(spread, steps)
        if name.endswith("cycles"):
            return values[slowest, np.arange(steps)]
        return values.sum(axis=0)

    names = [one.name for one in fields(StepCost) if one.name != "energy"]
    energy = Energy(
        **{
            name: None if part is None else part.reshape(spread, steps).sum(axis=0)
            for name, part in cost.energy.parts().items()
        }
    )
    return KvHeadCost(
        StepCost(**{one: joined(one) for one in names}, energy=energy), cycles, hidden
    )


def _shares(blocks: BoolArray, spread: int) -> BoolArray:
    """Return the blocks with the channels' shares as points: (readings, spread * steps, n)."""
    if spread == 1:
        return blocks
    return np.stack([np.concatenate(list(over_channels(reading, spread))) for reading in blocks])


def channel_cycles(
    device: Device,
    cycles: IntArray,
    hidden_cycles: IntArray | None = None,
    channel: IntArray | None = None,
) -> IntArray:
    """Return the cycles of each channel in one layer, (channels, steps); the busiest decides.

    KV heads go to channels round by round (KV head h to channel h mod channels, or `channel`).
    Those of one channel follow each other; in each pair the MACs of either hide the other's softmax
    and exposed moves (`hidden_cycles`, (kv_heads, steps), zero without): one attends to values
    while the other scores keys.

    Args:
        device: Device.
        cycles: Cycles of each KV head alone, (kv_heads, steps).
        hidden_cycles: Cycles of each KV head that its partner in a pair hides.
        channel: Channel of each KV head, (kv_heads,), instead of round robin.
    """
    kv_heads, steps = cycles.shape
    channels = device.channels
    place = np.arange(kv_heads) % channels if channel is None else np.asarray(channel)
    load = np.zeros((channels, steps), dtype=np.int64)
    for index in range(channels):
        mine = np.flatnonzero(place == index)
        load[index] = cycles[mine].sum(axis=0)
        if hidden_cycles is not None:
            for first, second in zip(mine[0::2], mine[1::2], strict=False):
                load[index] -= np.minimum(hidden_cycles[first], cycles[second])
                load[index] -= np.minimum(hidden_cycles[second], cycles[first])
    return load
