"""What the attention of one KV head costs on a device: cycles, activations, energy.

Two fidelities over one geometry. `command` sends the commands of every point through the
cycle-accurate scheduler; `analytic` goes row by row, by the same timing table.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost import analytic_fidelity as analytic
from pimreplay.cost.energy import StepEnergy, step_energy
from pimreplay.hardware.device import Hardware
from tracegen.base.errors import UserError

Fidelity = Literal["analytic", "command"]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepCost:
    """Cost of one KV head alone in its channel; every array is (points,), a point a step.

    `cycles` = score + softmax + context + move, where move counts only data movement that no
    MAC hides. Energies are in pJ, None where a coefficient is unknown.
    """

    cycles: IntArray
    score_cycles: IntArray
    softmax_cycles: IntArray
    context_cycles: IntArray
    move_cycles: IntArray
    n_key_rows: IntArray
    """Activate commands for keys, each for `parallel_banks` banks; rows that open again count."""
    n_value_rows: IntArray
    n_activations: IntArray
    """Row activations times the banks each opens."""
    n_mac_commands: IntArray
    n_moves: IntArray
    """Data-movement commands: query writes, moves to softmax and GEMV buffers."""
    energy: StepEnergy


@dataclass(frozen=True, slots=True)
class OverheadCost:
    """Cost of the work beside reading the selected K and V, (points,); None: unknown."""

    scoring_ns: FloatArray | None
    scoring_pj: FloatArray | None
    clustering_ns: FloatArray | None
    clustering_pj: FloatArray | None
    remap_ns: FloatArray | None
    remap_pj: FloatArray | None


def head_step_cost(
    hardware: Hardware,
    head_dim: int,
    element_bytes: int,
    blocks: NDArray[np.bool_],
    q_heads: int,
    fidelity: Fidelity = "analytic",
) -> StepCost:
    """Return what reading the `blocks` of one KV head costs at each step.

    Args:
        hardware: Device.
        head_dim: Elements of a key.
        element_bytes: Bytes of an element, 1, 2 or 4.
        blocks: Blocks of `geometry.block_tokens` slots read at each step, (points, n_blocks).
        q_heads: Query heads that share the read: each block is multiplied once for each.
        fidelity: Row by row, or the cycle-accurate scheduler on the true addresses.
    """
    geometry = hardware.geometry(head_dim, element_bytes)
    if blocks.ndim != 2:
        raise ValueError(f"blocks must be (points, n_blocks), got shape {blocks.shape}")
    if fidelity not in ("analytic", "command"):
        raise UserError(f"fidelity {fidelity!r} is unknown; known: analytic, command")
    if fidelity == "command":
        from pimreplay.cost import command_fidelity as head_commands

        cycles, rows = head_commands.run(hardware, geometry, blocks, q_heads)
        counts = analytic.count(hardware, geometry, q_heads, blocks.sum(axis=1), rows)
    else:
        counts, cycles = analytic.evaluate(hardware, geometry, blocks, q_heads)
    energy = step_energy(hardware, geometry, head_dim, element_bytes, counts, cycles.total)
    return StepCost(
        cycles=cycles.total,
        score_cycles=cycles.score,
        softmax_cycles=cycles.softmax,
        context_cycles=cycles.context,
        move_cycles=cycles.move,
        n_key_rows=counts.key_rows,
        n_value_rows=counts.value_rows,
        n_activations=(counts.key_rows + counts.value_rows) * geometry.parallel_banks,
        n_mac_commands=counts.key_macs + counts.value_macs,
        n_moves=counts.query_writes + counts.softmax_moves + counts.gemv_moves,
        energy=energy,
    )


def layer_cycles(
    hardware: Hardware,
    cycles: IntArray,
    hidden_cycles: IntArray | None = None,
    channel: IntArray | None = None,
) -> IntArray:
    """Return the cycles of one layer's attention, (steps,): the busiest channel's.

    KV heads go to channels round by round (head h to channel h mod channels, or `channel`).
    Heads of one channel follow each other; in each pair the second head's MACs hide the first
    head's softmax and exposed moves (`hidden_cycles`, (kv_heads, steps), zero without).

    Args:
        hardware: Device.
        cycles: Cycles of each KV head alone, (kv_heads, steps).
        hidden_cycles: Cycles of each head that its partner in a pair hides.
        channel: Channel of each head, (kv_heads,), instead of round robin.
    """
    load = channel_cycles(hardware, cycles, hidden_cycles, channel)
    result: IntArray = load.max(axis=0)
    return result


def channel_cycles(
    hardware: Hardware,
    cycles: IntArray,
    hidden_cycles: IntArray | None = None,
    channel: IntArray | None = None,
) -> IntArray:
    """Return the cycles of each channel, (channels, steps); see `layer_cycles`."""
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


def overhead_cost(
    hardware: Hardware,
    head_dim: int,
    element_bytes: int,
    *,
    scored_vectors: FloatArray | IntArray | None,
    scored_bytes: FloatArray | IntArray | None,
    clustering_flops: FloatArray | IntArray | None,
    moved_tokens: FloatArray | IntArray | None,
) -> OverheadCost:
    """Return the cost of scoring metadata, clustering on the host and rewriting tokens.

    Scoring multiplies `scored_vectors` vectors in the memory like dense keys (a lane each).
    Clustering runs on the host at its stated arithmetic rate. A remapped token's K and V are
    read and written once over the channel's data bus. Each input is (points,) or None for
    unknown; each output likewise.
    """
    org, timing, energy = hardware.organisation, hardware.timing, hardware.energy
    geometry = hardware.geometry(head_dim, element_bytes)
    t_ck_ns = hardware.t_ck_ns
    token_bits = 2 * head_dim * element_bytes * 8
    move_pj_per_bit = _sum(
        energy.cell_pj_per_bit,
        energy.bank_group_pj_per_bit,
        energy.global_io_pj_per_bit,
        energy.tsv_pj_per_bit,
    )
    scoring_ns = scoring_pj = clustering_ns = clustering_pj = remap_ns = remap_pj = None
    if scored_vectors is not None:
        vectors = np.asarray(scored_vectors, dtype=np.float64)
        steps = np.ceil(vectors / geometry.block_tokens)
        rows = np.ceil(steps / geometry.key_blocks_per_row)
        switch = timing.n_rtpl_cycles + timing.n_rp_cycles + timing.n_rcdrd_cycles
        spacing = analytic.mac_spacing_cycles(hardware)
        cycles = steps * geometry.key_columns * spacing + rows * switch
        scoring_ns = np.where(vectors > 0, cycles * t_ck_ns, 0.0)
        bits = (
            np.asarray(scored_bytes, dtype=np.float64) * 8
            if scored_bytes is not None
            else vectors * head_dim * element_bytes * 8
        )
        cell, mac, opening = energy.cell_pj_per_bit, energy.mac_pj, energy.activation_pj
        if cell is not None and mac is not None and opening is not None:
            scoring_pj = (
                bits * cell + vectors * head_dim * mac + rows * geometry.parallel_banks * opening
            )
    if clustering_flops is not None and hardware.host_flops_per_ns is not None:
        flops = np.asarray(clustering_flops, dtype=np.float64)
        clustering_ns = flops / hardware.host_flops_per_ns
        if hardware.host_pj_per_flop is not None:
            clustering_pj = flops * hardware.host_pj_per_flop
    if moved_tokens is not None:
        tokens = np.asarray(moved_tokens, dtype=np.float64)
        accesses = np.ceil(tokens * token_bits / 8 / org.access_bytes)
        # pseudo-channels have a data bus each; a read and a write per access
        remap_ns = 2 * accesses * timing.n_bl_cycles / org.pseudo_channels * t_ck_ns
        if move_pj_per_bit is not None:
            remap_pj = 2 * tokens * token_bits * move_pj_per_bit
    return OverheadCost(scoring_ns, scoring_pj, clustering_ns, clustering_pj, remap_ns, remap_pj)


def _sum(*values: float | None) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
