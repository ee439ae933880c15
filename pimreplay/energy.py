"""Energy of a step from counted events and time: one place, every coefficient with a unit.

`activation` (the default) charges what happens: each row activation, each bit out of a row
buffer, each bit over each distance, each MAC, and standby and refresh power over time.
`attacc` reproduces the accounting of the AttAcc simulator, for comparison with its figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.analytic import Counts
from pimreplay.hardware import Geometry, Hardware

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepEnergy:
    """Energy of one KV head's step by part, pJ, (points,); None where nobody knows."""

    activation_pj: FloatArray | None
    cell_pj: FloatArray | None
    movement_pj: FloatArray | None
    mac_pj: FloatArray | None
    softmax_pj: FloatArray | None
    background_pj: FloatArray | None
    refresh_pj: FloatArray | None
    notes: tuple[str, ...] = ()

    @property
    def total_pj(self) -> FloatArray | None:
        """Sum of all parts, None when any is unknown."""
        parts = (
            self.activation_pj,
            self.cell_pj,
            self.movement_pj,
            self.mac_pj,
            self.softmax_pj,
            self.background_pj,
            self.refresh_pj,
        )
        total: FloatArray | None = None
        for part in parts:
            if part is None:
                return None
            total = part if total is None else total + part
        return total


def step_energy(
    hardware: Hardware,
    geometry: Geometry,
    head_dim: int,
    element_bytes: int,
    counts: Counts,
    cycles: IntArray,
) -> StepEnergy:
    """Return the energy of each point from its counted commands and its cycles."""
    e, org = hardware.energy, hardware.organisation
    access_bits = org.access_bytes * 8
    macs = (counts.key_macs + counts.value_macs).astype(np.float64)
    read_bits = macs * geometry.parallel_banks * access_bits
    rows = (counts.key_rows + counts.value_rows).astype(np.float64)
    inward = {
        "bank": 0.0,
        "bg": e.bank_group_pj_per_bit,
        "buffer": _sum(e.bank_group_pj_per_bit, e.global_io_pj_per_bit, e.tsv_pj_per_bit),
    }[hardware.level]
    on_stack = _sum(e.bank_group_pj_per_bit, e.global_io_pj_per_bit, e.tsv_pj_per_bit)
    writes = counts.query_writes * float(access_bits)
    moves = (counts.softmax_moves + counts.gemv_moves) * float(access_bits)
    movement = None
    if inward is not None and on_stack is not None and e.interposer_pj_per_bit is not None:
        movement = (
            read_bits * inward + (writes + moves) * on_stack + writes * e.interposer_pj_per_bit
        )
    operations = macs * geometry.parallel_banks * geometry.lane_words
    scores = counts.gemv_moves * float(geometry.lane_words * org.pseudo_channels)
    time_ns = cycles * hardware.t_ck_ns
    return StepEnergy(
        activation_pj=_times(rows * geometry.parallel_banks, e.activation_pj),
        cell_pj=_times(read_bits, e.cell_pj_per_bit),
        movement_pj=movement,
        mac_pj=_times(operations, e.mac_pj),
        softmax_pj=_times(scores, e.softmax_pj_per_element),
        background_pj=_times(time_ns, e.background_mw_per_channel),
        refresh_pj=_times(time_ns, e.refresh_mw_per_channel) if hardware.refresh else time_ns * 0,
    )


def _times(amount: FloatArray, coefficient: float | None) -> FloatArray | None:
    return None if coefficient is None else amount * coefficient


def _sum(*values: float | None) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
