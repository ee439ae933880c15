"""Energy of one attention layer in the whole system, two ways; everything in pJ.

`artefact_energy` repeats the published cost model, for comparison with published figures.
`counted_energy` charges what happens in the memory as the rest of this toolkit does: row
activations one by one, movement in bits, standby and refresh power over time, and no work on
tokens that are not read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.starc.cost import ROW_TOKENS, IntArray, StepCosts
from analysis.starc.shapes import Shape, System
from pimreplay.cost.energy_events import Events
from pimreplay.cost.energy_models import activation, attacc
from pimreplay.cost.energy_parts import Energy
from pimreplay.hardware.device import Hardware

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArtefactEnergy:
    """Energy of one layer as the artefact's `main.py` prints it, all stacks, (steps,)."""

    memory_pj: FloatArray
    """`g_attn_mem_energy`: cells, data paths, the softmax buffer."""
    compute_pj: FloatArray
    """`g_attn_comp_energy`: multiply-adds and softmax."""

    @property
    def total_pj(self) -> FloatArray:
        """Both."""
        return self.memory_pj + self.compute_pj


def artefact_energy(
    hardware: Hardware, system: System, shape: Shape, context: IntArray, steps: StepCosts
) -> ArtefactEnergy:
    """Return the energy that the artefact reports for each step of one layer, all stacks.

    Kept as published though it is not what happens: data-path coefficients, in pJ/bit, multiply
    bytes; multiply-adds are those of the scores alone, and of the whole context under every
    method (`src/devices.py` takes them from the layer's dense shape); every stack is charged as
    the fullest one. Checked against the README's sample output in the tests.

    Args:
        hardware: Device.
        system: Batch, devices, stacks.
        shape: Model.
        context: Tokens in the cache, (steps,).
        steps: Commands of one stack.
    """
    tokens = _scaled(context, system.heads(shape))
    events = _events(hardware, system, shape, steps, float(system.stacks), tokens)
    parts = attacc.charge(hardware, events)
    assert parts.cell_pj is not None
    assert parts.movement_pj is not None
    assert parts.mac_pj is not None
    assert parts.softmax_pj is not None
    buffer_pj = tokens * (2 * system.element_bytes * attacc.SRAM_PJ_PER_BYTE)  # in and out
    return ArtefactEnergy(
        memory_pj=parts.cell_pj + parts.movement_pj + buffer_pj,
        compute_pj=parts.mac_pj + parts.softmax_pj - buffer_pj,
    )


def counted_energy(hardware: Hardware, system: System, shape: Shape, steps: StepCosts) -> Energy:
    """Return the energy of one layer by counted events, all heads of the batch, (steps,).

    Block rows lie side by side, as the artefact packs them: the fewest activations that so many
    block rows can have. Every channel of every stack is powered while the layer runs.
    """
    read = _scaled(steps.block_rows, ROW_TOKENS * system.heads(shape))
    stacks = system.heads(shape) / system.heads_per_stack(shape)
    return activation.charge(hardware, _events(hardware, system, shape, steps, stacks, read))


def _events(
    hardware: Hardware,
    system: System,
    shape: Shape,
    steps: StepCosts,
    stacks: float,
    scores: FloatArray,
) -> Events:
    """Return the events of `stacks` stacks like the simulated one; all stacks take its time."""
    banks = hardware.geometry(shape.head_dim, system.kv_bits).mac_banks
    return Events(
        activations=_scaled(steps.row_activations, stacks),
        mac_reads=_scaled(steps.macs, banks * stacks),
        mac_commands=_scaled(steps.macs, stacks),
        query_writes=_scaled(steps.query_writes, stacks),
        moves=_scaled(steps.softmax_moves + steps.gemv_moves, stacks),
        host_accesses=np.zeros(len(steps.cycles)),
        scores=scores,
        score_products=scores * shape.head_dim,
        time_ns=_scaled(steps.cycles, hardware.t_ck_ns),
        channels=hardware.organisation.channels * system.stacks,
        kv_bits=system.kv_bits,
    )


def _scaled(amounts: IntArray, factor: float) -> FloatArray:
    return np.asarray(amounts, dtype=np.float64) * factor
