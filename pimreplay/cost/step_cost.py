"""What the attention of one KV head costs on a device: cycles, activations, energy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.energy import step_energy
from pimreplay.cost.energy_parts import Energy
from pimreplay.cost.fidelity import load_fidelity
from pimreplay.hardware.device import Geometry

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepCost:
    """Cost of one KV head alone in its channel; every array is (points,), a point a step.

    `cycles` = score + softmax + context + move, where move counts only data movement that no
    MAC hides. Energies are in pJ, None where a coefficient is unknown; rows where nothing is known
    of them.
    """

    cycles: IntArray
    score_cycles: IntArray
    softmax_cycles: IntArray
    context_cycles: IntArray
    move_cycles: IntArray
    hidden_cycles: IntArray
    """Those of the cycles that another KV head of the same channel can hide."""
    n_key_rows: IntArray | None
    """Activate commands for keys, each for `mac_banks` banks; rows that open again count."""
    n_value_rows: IntArray | None
    n_activations: IntArray | None
    """Row activations times the banks each opens."""
    n_mac_commands: IntArray
    n_moves: IntArray
    """Data-movement commands: query writes, moves to softmax and GEMV buffers."""
    energy: Energy

    def columns(self, t_ck_ns: float) -> dict[str, np.ndarray | None]:
        """Return the columns of the results that a cost fills."""
        return {
            "key_rows": self.n_key_rows,
            "value_rows": self.n_value_rows,
            "activations": self.n_activations,
            "mac_commands": self.n_mac_commands,
            "move_commands": self.n_moves,
            "cycles": self.cycles,
            "latency_ns": self.cycles * t_ck_ns,
            "score_ns": self.score_cycles * t_ck_ns,
            "softmax_ns": self.softmax_cycles * t_ck_ns,
            "context_ns": self.context_cycles * t_ck_ns,
            "move_ns": self.move_cycles * t_ck_ns,
            "energy_pj": self.energy.total_pj,
            **self.energy.parts(),
        }


def step_cost(
    geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int, fidelity: str = "analytic"
) -> StepCost:
    """Return what reading the `blocks` of one KV head costs at each step.

    Args:
        geometry: Where the KV head lies on its device.
        blocks: Blocks of `geometry.block_tokens` slots read at each step, (points, n_blocks).
        q_heads: Query heads that share the read: each block is multiplied once for each.
        fidelity: `analytic` (row by row) or `command` (the scheduler on the true addresses).
    """
    if blocks.ndim != 2:
        raise ValueError(f"blocks must be (points, n_blocks), got shape {blocks.shape}")
    counts, cycles = load_fidelity(fidelity)(geometry, blocks, q_heads)
    return StepCost(
        cycles=cycles.total,
        score_cycles=cycles.score,
        softmax_cycles=cycles.softmax,
        context_cycles=cycles.context,
        move_cycles=cycles.move,
        hidden_cycles=cycles.softmax + cycles.move,
        n_key_rows=counts.key_rows,
        n_value_rows=counts.value_rows,
        n_activations=(counts.key_rows + counts.value_rows) * geometry.mac_banks,
        n_mac_commands=counts.key_macs + counts.value_macs,
        n_moves=counts.query_writes + counts.softmax_moves + counts.gemv_moves,
        energy=step_energy(geometry, counts, cycles.total),
    )
