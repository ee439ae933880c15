"""What the work beside reading keys and values costs: scoring, clustering, rewriting tokens.

Each kind stands in columns of its own, always.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.energy_models.activation import ON_STACK, distance_pj_per_bit
from pimreplay.cost.energy_parts import FloatArray
from pimreplay.hardware.device import Device, Geometry

Amount = FloatArray | NDArray[np.int64]
Cost = tuple[FloatArray | None, FloatArray | None]
"""Time in ns and energy in pJ, (points,) each; None: unknown."""


@dataclass(frozen=True, slots=True)
class OverheadCost:
    """Cost of the work beside reading the selected K and V, (points,); None: unknown."""

    scoring_ns: FloatArray | None
    scoring_pj: FloatArray | None
    clustering_ns: FloatArray | None
    clustering_pj: FloatArray | None
    remap_ns: FloatArray | None
    remap_pj: FloatArray | None

    def columns(self) -> dict[str, FloatArray | None]:
        """Return every cost by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


OVERHEADS = tuple(
    one.name.removesuffix("_ns") for one in fields(OverheadCost) if one.name.endswith("_ns")
)
"""Kinds of work beside attention; each has a time and an energy, apart from those of attention."""


def scoring(geometry: Geometry, vectors: FloatArray, scored_bytes: Amount | None) -> Cost:
    """Multiply vectors of metadata in the memory like dense keys, a lane each."""
    hardware = geometry.hardware
    timing, energy = hardware.timing, hardware.energy
    blocks = np.ceil(vectors / geometry.block_tokens)
    rows = np.ceil(blocks / geometry.key_blocks_per_row)
    switch = timing.n_rtpl_cycles + timing.n_rp_cycles + timing.n_rcdrd_cycles
    spacing = hardware.level.mac_spacing_cycles(timing)
    cycles = blocks * geometry.key_columns * spacing + rows * switch
    scoring_ns: FloatArray = cycles * hardware.t_ck_ns
    bits = (
        vectors * (geometry.head_dim * geometry.kv_bits)
        if scored_bytes is None
        else np.asarray(scored_bytes, dtype=np.float64) * 8
    )
    cell, mac, opening = energy.cell_pj_per_bit, energy.mac_pj, energy.activation_pj
    if cell is None or mac is None or opening is None:
        return scoring_ns, None
    scoring_pj = (
        bits * cell + vectors * geometry.head_dim * mac + rows * geometry.mac_banks * opening
    )
    return scoring_ns, scoring_pj


def clustering_cost(device: Device, flops: Amount | None) -> Cost:
    """Return the cost of clustering on the host, at its stated arithmetic rate."""
    if flops is None or device.host_flops_per_ns is None:
        return None, None
    amount = np.asarray(flops, dtype=np.float64)
    pj_per_flop = device.host_pj_per_flop
    time_ns: FloatArray = amount / device.host_flops_per_ns
    return time_ns, None if pj_per_flop is None else amount * pj_per_flop


def remapping(geometry: Geometry, tokens: FloatArray) -> Cost:
    """Read and write a token's key and value once over the channel's data bus."""
    hardware = geometry.hardware
    org, timing = hardware.organisation, hardware.timing
    accesses = np.ceil(tokens * geometry.token_bits / (8 * org.access_bytes))
    # pseudo-channels have a data bus each; a read and a write per access
    bus_cycles = 2 * accesses * timing.n_bl_cycles / org.pseudo_channels
    pj_per_bit = distance_pj_per_bit(hardware, "cell", *ON_STACK)
    energy_pj = None if pj_per_bit is None else 2 * tokens * geometry.token_bits * pj_per_bit
    return bus_cycles * hardware.t_ck_ns, energy_pj
