"""Energy of one attention layer in the whole system, two ways; everything in pJ.

`artefact_energy` repeats the published cost model, for comparison with published figures.
`counted_energy` charges what happens in the memory as the rest of this toolkit does: row
activations one by one, movement in bits, standby and refresh power over time, and no work on
tokens that are not read.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.starc.cost import ROW_TOKENS, IntArray, StepCosts
from analysis.starc.shapes import Shape, System
from pimreplay.energy import Events, StepEnergy, activation_energy, attacc_energy
from pimreplay.hardware import Hardware

FloatArray = NDArray[np.float64]


def artefact_energy(
    hardware: Hardware, system: System, shape: Shape, context: IntArray, steps: StepCosts
) -> StepEnergy:
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
    tokens = context * float(system.heads(shape))
    events = _events(hardware, system, shape, steps, float(system.stacks), tokens)
    return attacc_energy(hardware, events)


def counted_energy(
    hardware: Hardware, system: System, shape: Shape, steps: StepCosts
) -> StepEnergy:
    """Return the energy of one layer by counted events, all heads of the batch, (steps,).

    Block rows lie side by side, as the artefact packs them: the fewest activations that so many
    block rows can have. Every channel of every stack is powered while the layer runs.
    """
    read = steps.block_rows * float(ROW_TOKENS * system.heads(shape))
    stacks = system.heads(shape) / system.heads_per_stack(shape)
    return activation_energy(hardware, _events(hardware, system, shape, steps, stacks, read))


def _events(
    hardware: Hardware,
    system: System,
    shape: Shape,
    steps: StepCosts,
    stacks: float,
    scores: FloatArray,
) -> Events:
    """Return the events of `stacks` stacks like the simulated one; all stacks take its time."""
    banks = hardware.geometry(shape.head_dim, system.element_bytes).parallel_banks
    return Events(
        activations=steps.row_activations * stacks,
        mac_reads=steps.macs * (banks * stacks),
        mac_commands=steps.macs * stacks,
        query_writes=steps.query_writes * stacks,
        moves=(steps.softmax_moves + steps.gemv_moves) * stacks,
        host_accesses=np.zeros(len(steps.cycles)),
        scores=scores,
        score_products=scores * shape.head_dim,
        time_ns=steps.cycles * hardware.t_ck_ns,
        channels=hardware.organisation.channels * system.stacks,
    )
