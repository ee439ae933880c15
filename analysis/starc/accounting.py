"""Energy of one attention layer in the whole system, two ways; everything in pJ.

`artefact_energy` repeats the published cost model to the last term, for comparison with published
figures. `activation_energy` charges what happens in the memory as the rest of this toolkit does:
row activations one by one, movement in bits, standby and refresh power over time, and no work on
tokens that are not read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.starc.cost import IntArray, StepCosts
from analysis.starc.shapes import Shape, System
from pimreplay import analytic
from pimreplay.energy import step_energy
from pimreplay.hardware import Hardware
from tracegen.errors import UserError

FloatArray = NDArray[np.float64]

SRAM_PJ_PER_BYTE = 0.0034
"""Softmax buffer (EPIC-RPI/STARC @ 30d4ce9, `src/config.py`)."""
SOFTMAX_OPERATIONS = 5
"""Operations of a softmax element (the same, `src/model.py`)."""


@dataclass(frozen=True, slots=True)
class ArtefactEnergy:
    """Energy of one layer as the artefact's `main.py` sums it, all stacks, (steps,)."""

    memory_pj: FloatArray
    """`g_attn_mem_energy`: cells, data paths and the softmax buffer."""
    compute_pj: FloatArray
    """`g_attn_comp_energy`: charged on the whole context whatever the method reads."""

    @property
    def total_pj(self) -> FloatArray:
        """Memory and compute."""
        return self.memory_pj + self.compute_pj


def artefact_energy(
    hardware: Hardware, system: System, shape: Shape, context: IntArray, steps: StepCosts
) -> ArtefactEnergy:
    """Return the energy that the artefact reports for each step of one layer.

    Three things are kept as published though they are not what happens: the data-path
    coefficients, in pJ/bit, multiply bytes; multiply-adds are those of the scores alone, and of
    the whole context under every method; every stack is charged as the fullest one.

    Args:
        hardware: Its coefficients; it must name those of the DRAM path and of a MAC.
        system: Batch, devices, stacks.
        shape: Model.
        context: Tokens in the cache, (steps,).
        steps: Commands of one stack.
    """
    e, org = hardware.energy, hardware.organisation
    geometry = hardware.geometry(shape.head_dim, system.element_bytes)
    activation_pj_per_bit = _known(hardware, "activation_pj") / (org.row_bytes * 8)
    cell_pj_per_byte = 8 * (activation_pj_per_bit + _known(hardware, "cell_pj_per_bit"))
    path = (
        _known(hardware, "bank_group_pj_per_bit")
        + _known(hardware, "global_io_pj_per_bit")
        + _known(hardware, "tsv_pj_per_bit")
    )
    writes = steps.query_writes.astype(np.float64)
    moved = (writes + steps.softmax_moves + steps.gemv_moves) * org.access_bytes
    read = steps.macs * float(org.access_bytes * geometry.parallel_banks)
    stack_pj = (
        read * cell_pj_per_byte
        + moved * path  # pJ/bit times bytes, as published
        + writes * org.access_bytes * _known(hardware, "interposer_pj_per_bit")
    )
    heads = system.heads_per_device(shape) * system.devices
    tokens = context.astype(np.float64)
    softmax_bytes = 2 * tokens * system.element_bytes * heads
    macs = tokens * shape.head_dim * heads
    assert e.mac_pj is not None
    return ArtefactEnergy(
        memory_pj=stack_pj * system.stacks + softmax_bytes * SRAM_PJ_PER_BYTE,
        compute_pj=(macs + tokens * heads * SOFTMAX_OPERATIONS / 2) * e.mac_pj,
    )


def activation_energy(
    hardware: Hardware, system: System, shape: Shape, steps: StepCosts
) -> FloatArray | None:
    """Return the energy of one layer by counted events, all heads of the batch, (steps,).

    None when the hardware file leaves a coefficient out. Block rows lie side by side, as the
    artefact packs them: the fewest activations that so many block rows can have.
    """
    geometry = hardware.geometry(shape.head_dim, system.element_bytes)
    rows, first, inverse = np.unique(steps.block_rows, return_index=True, return_inverse=True)
    mask = np.arange(rows.max()) < rows[:, None]  # (distinct, blocks)
    energy = step_energy(
        hardware,
        geometry,
        shape.head_dim,
        system.element_bytes,
        analytic.count(geometry, mask, q_heads=1),
        steps.cycles[first],
    ).total_pj
    if energy is None:
        return None
    heads = system.heads_per_device(shape) * system.devices
    result: FloatArray = energy[inverse] * heads
    return result


def _known(hardware: Hardware, name: str) -> float:
    value = getattr(hardware.energy, name)
    if value is None:
        raise UserError(
            f"{hardware.name}: [energy] {name} is missing; the artefact's accounting needs it,"
            " choose a hardware file that states it"
        )
    return float(value)
