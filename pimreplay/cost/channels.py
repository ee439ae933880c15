"""Cost of one KV head as result columns, in one channel or spread over several."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pimreplay.cost.energy import StepEnergy
from pimreplay.cost.step_cost import StepCost, head_step_cost
from pimreplay.placement.blocks import over_channels

if TYPE_CHECKING:
    from pimreplay.hardware.device import Hardware
    from pimreplay.records import HeadTrace

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class HeadCost:
    """Cost of one KV head, in one channel or spread over several."""

    total: StepCost
    """(steps,): times of the slowest channel, counts and energies of all together."""
    channel_cycles: Array
    """(channels, steps) int64."""
    hidden_cycles: Array
    """(channels, steps) int64."""


def head_cost(
    hardware: "Hardware",
    head: "HeadTrace",
    element_bytes: int,
    blocks: Array,
    fidelity: str,
    spread: int = 1,
) -> HeadCost:
    """Return what reading `blocks` (steps, n_blocks) costs, the head spread over channels.

    With `spread` channels, block b lies in channel b mod spread, and a step of the head ends with
    the slowest of them. Joining their softmaxes is not modelled.
    """
    steps = len(blocks)
    if spread > 1:
        blocks = over_channels(blocks, spread).reshape(spread * steps, -1)
    cost = head_step_cost(
        hardware,
        head.head_dim,
        element_bytes,
        blocks,
        head.q_heads,
        fidelity,  # type: ignore[arg-type]
    )
    cycles = cost.cycles.reshape(spread, steps)
    hidden = (cost.softmax_cycles + cost.move_cycles).reshape(spread, steps)
    if spread == 1:
        return HeadCost(cost, cycles, hidden)
    slowest = cycles.argmax(axis=0)[None]

    def slowest_of(values: Array) -> Array:
        found: Array = np.take_along_axis(values.reshape(spread, steps), slowest, axis=0)[0]
        return found

    def sum_of(values: Array | None) -> Any:
        return None if values is None else values.reshape(spread, steps).sum(axis=0)

    energy = cost.energy
    total = StepCost(
        cycles=slowest_of(cost.cycles),
        score_cycles=slowest_of(cost.score_cycles),
        softmax_cycles=slowest_of(cost.softmax_cycles),
        context_cycles=slowest_of(cost.context_cycles),
        move_cycles=slowest_of(cost.move_cycles),
        n_key_rows=sum_of(cost.n_key_rows),
        n_value_rows=sum_of(cost.n_value_rows),
        n_activations=sum_of(cost.n_activations),
        n_mac_commands=sum_of(cost.n_mac_commands),
        n_moves=sum_of(cost.n_moves),
        energy=StepEnergy(
            activation_pj=sum_of(energy.activation_pj),
            cell_pj=sum_of(energy.cell_pj),
            movement_pj=sum_of(energy.movement_pj),
            mac_pj=sum_of(energy.mac_pj),
            softmax_pj=sum_of(energy.softmax_pj),
            background_pj=sum_of(energy.background_pj),
            refresh_pj=sum_of(energy.refresh_pj),
            notes=energy.notes,
        ),
    )
    return HeadCost(total, cycles, hidden)


def channels_of(placer: Any, hardware: "Hardware") -> int:
    """Return the channels that a layout spreads one KV head over."""
    return hardware.organisation.channels if placer.heads == "token_interleaved" else 1


def cost_columns(cost: StepCost, t_ck_ns: float) -> dict[str, Array | None]:
    """Return the columns of `pimreplay.results.schema.STEP_VALUES` that a cost fills."""
    energy = cost.energy
    return {
        "key_rows": cost.n_key_rows,
        "value_rows": cost.n_value_rows,
        "activations": cost.n_activations,
        "mac_commands": cost.n_mac_commands,
        "move_commands": cost.n_moves,
        "cycles": cost.cycles,
        "latency_ns": cost.cycles * t_ck_ns,
        "score_ns": cost.score_cycles * t_ck_ns,
        "softmax_ns": cost.softmax_cycles * t_ck_ns,
        "context_ns": cost.context_cycles * t_ck_ns,
        "move_ns": cost.move_cycles * t_ck_ns,
        "energy_pj": energy.total_pj,
        "activation_pj": energy.activation_pj,
        "cell_pj": energy.cell_pj,
        "movement_pj": energy.movement_pj,
        "mac_pj": energy.mac_pj,
        "softmax_pj": energy.softmax_pj,
        "background_pj": energy.background_pj,
        "refresh_pj": energy.refresh_pj,
    }
