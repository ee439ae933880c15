"""KV heads on channels: one alone in a channel or spread over several, and a layer over all."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.energy_parts import Energy
from pimreplay.cost.step_cost import StepCost, step_cost
from pimreplay.hardware.device import Geometry, Hardware
from pimreplay.placement.blocks import over_channels

IntArray = NDArray[np.int64]


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
    geometry: Geometry,
    blocks: NDArray[np.bool_],
    q_heads: int,
    fidelity: str,
    spread: int,
) -> KvHeadCost:
    """Return what reading `blocks` (steps, n_blocks) costs, the KV head spread over channels.

    With `spread` channels, block b lies in channel b mod spread, and a step of the KV head ends
    with the slowest of them. Joining their softmaxes is not modelled.
    """
    steps = len(blocks)
    shares = over_channels(blocks, spread).reshape(spread * steps, -1)
    cost = step_cost(geometry, shares, q_heads, fidelity)
    cycles = cost.cycles.reshape(spread, steps)
    hidden = (cost.softmax_cycles + cost.move_cycles).reshape(spread, steps)
    slowest = cycles.argmax(axis=0)

    def joined(name: str) -> IntArray:
        """Return times of the slowest channel and the sum of counts."""
        values = getattr(cost, name).reshape(spread, steps)
        if name.endswith("cycles"):
            found: IntArray = values[slowest, np.arange(steps)]
            return found
        total: IntArray = values.sum(axis=0)
        return total

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


def channel_cycles(
    hardware: Hardware,
    cycles: IntArray,
    hidden_cycles: IntArray | None = None,
    channel: IntArray | None = None,
) -> IntArray:
    """Return the cycles of each channel in one layer, (channels, steps); the busiest decides.

    KV heads go to channels round by round (KV head h to channel h mod channels, or `channel`).
    Those of one channel follow each other; in each pair the second one's MACs hide the first one's
    softmax and exposed moves (`hidden_cycles`, (kv_heads, steps), zero without).

    Args:
        hardware: Device.
        cycles: Cycles of each KV head alone, (kv_heads, steps).
        hidden_cycles: Cycles of each KV head that its partner in a pair hides.
        channel: Channel of each KV head, (kv_heads,), instead of round robin.
    """
    kv_heads, steps = cycles.shape
    channels = hardware.organisation.channels
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
