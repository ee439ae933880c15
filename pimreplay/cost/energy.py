"""Energy of a step from counted events and time: one place, every coefficient with a unit.

`activation` (the default) charges what happens: each row activation, each bit out of a row
buffer, each bit over each distance, each MAC, and standby and refresh power over time.
`attacc` reproduces the accounting of the AttAcc simulator, for comparison with its figures.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.analytic_fidelity import Counts
from pimreplay.hardware.device import Geometry, Hardware

if TYPE_CHECKING:
    from pimreplay.bank_model.scheduler import Outcome

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


@dataclass(frozen=True, slots=True)
class Events:
    """What energy is charged for: counts of one channel or of a stack, arrays or numbers."""

    activations: FloatArray
    """Rows opened, in banks."""
    mac_reads: FloatArray
    """Column accesses of MACs, in banks: all-bank MACs times the banks they read."""
    mac_commands: FloatArray
    query_writes: FloatArray
    """Column accesses from the host to GEMV buffers."""
    moves: FloatArray
    """Column accesses between the GEMV buffers and the softmax unit."""
    host_accesses: FloatArray
    """Column accesses between cells and host: plain reads and writes."""
    scores: FloatArray
    """Elements through the softmax."""
    score_products: FloatArray
    """Multiply-adds of query times keys, without lanes that only pad."""
    time_ns: FloatArray
    channels: int
    element_bytes: int


def energy(hardware: Hardware, events: Events) -> StepEnergy:
    """Charge events with the hardware's energy model."""
    if hardware.energy_model == "attacc":
        return attacc_energy(hardware, events)
    return activation_energy(hardware, events)


def activation_energy(hardware: Hardware, events: Events) -> StepEnergy:
    """Charge each thing that happens; None for parts whose coefficient nobody published."""
    e, org = hardware.energy, hardware.organisation
    bits = org.access_bytes * 8.0
    words = float(org.access_bytes // events.element_bytes)
    inward = {
        "bank": 0.0,
        "bg": e.bank_group_pj_per_bit,
        "buffer": _sum(e.bank_group_pj_per_bit, e.global_io_pj_per_bit, e.tsv_pj_per_bit),
    }[hardware.level]
    on_stack = _sum(e.bank_group_pj_per_bit, e.global_io_pj_per_bit, e.tsv_pj_per_bit)
    outside = events.query_writes + events.host_accesses
    movement = None
    if inward is not None and on_stack is not None and e.interposer_pj_per_bit is not None:
        movement = bits * (
            events.mac_reads * inward
            + (outside + events.moves) * on_stack
            + outside * e.interposer_pj_per_bit
        )
    power = events.time_ns * events.channels
    refresh = power * 0.0
    return StepEnergy(
        activation_pj=_times(events.activations, e.activation_pj),
        cell_pj=_times((events.mac_reads + events.host_accesses) * bits, e.cell_pj_per_bit),
        movement_pj=movement,
        mac_pj=_times(events.mac_reads * words, e.mac_pj),
        softmax_pj=_times(events.scores, e.softmax_pj_per_element),
        background_pj=_times(power, e.background_mw_per_channel),
        refresh_pj=_times(power, e.refresh_mw_per_channel) if hardware.refresh else refresh,
    )


ATTACC_CELL_PJ_PER_BYTE = {
    "bank": (0.11 + 0.44) * 8,
    "bg": (0.11 + 0.44 + 1.01) * 8,
    "buffer": (0.11 + 0.44 + 1.01 + 1.23 + 0.5) * 8,
}
ATTACC_READ_BANKS = {"bank": 64, "bg": 16, "buffer": 1}
"""Banks charged for one MAC; a buffer-level MAC reads two, charged as one in a fresh run."""
ATTACC_IO_PJ_PER_BIT = {"interposer": 0.3, "tsv": 0.5, "global_io": 1.23, "bank_group": 1.01}
ATTACC_MAC_PJ = 0.32
ATTACC_SRAM_PJ_PER_BYTE = 0.0034
ATTACC_SOFTMAX_OPERATIONS = 5


def attacc_energy(hardware: Hardware, events: Events) -> StepEnergy:
    """Charge events as the AttAcc simulator does, its slips included.

    Data-path energies are pJ per bit there and multiplied with bytes, so they come out an eighth
    of what was meant; activation is spread over the bits read; only the score product is charged
    for arithmetic; standby and refresh are not charged.
    Source: scale-snu/attacc_simulator @ c600051, src/config.py, src/devices.py,
    src/ramulator_wrapper.py.
    """
    access = hardware.organisation.access_bytes
    io = ATTACC_IO_PJ_PER_BIT
    writes = events.query_writes * float(access)
    moved = (events.query_writes + events.moves) * float(access)
    path = io["tsv"] + io["global_io"] + io["bank_group"]
    nothing = events.time_ns * 0.0
    read = events.mac_commands * float(access * ATTACC_READ_BANKS[hardware.level])
    softmax = events.scores * (
        2 * events.element_bytes * ATTACC_SRAM_PJ_PER_BYTE
        + ATTACC_SOFTMAX_OPERATIONS / 2 * ATTACC_MAC_PJ
    )
    return StepEnergy(
        activation_pj=nothing,
        cell_pj=read * ATTACC_CELL_PJ_PER_BYTE[hardware.level],
        movement_pj=writes * io["interposer"] + moved * path,
        mac_pj=events.score_products * ATTACC_MAC_PJ,
        softmax_pj=softmax,
        background_pj=nothing,
        refresh_pj=nothing,
        notes=(
            "attacc model: activation is part of cell_pj, background and refresh are not charged",
            "attacc model: movement is an eighth of what its coefficients mean (bytes for bits)",
        ),
    )


def step_energy(
    hardware: Hardware,
    geometry: Geometry,
    head_dim: int,
    element_bytes: int,
    counts: Counts,
    cycles: IntArray,
) -> StepEnergy:
    """Return the energy of each point from its counted commands and its cycles."""
    macs = (counts.key_macs + counts.value_macs).astype(np.float64)
    rows = (counts.key_rows + counts.value_rows).astype(np.float64)
    tokens = counts.scores.astype(np.float64)
    events = Events(
        activations=rows * geometry.parallel_banks,
        mac_reads=macs * geometry.parallel_banks,
        mac_commands=macs,
        query_writes=counts.query_writes.astype(np.float64),
        moves=(counts.softmax_moves + counts.gemv_moves).astype(np.float64),
        host_accesses=np.zeros(len(macs)),
        scores=tokens,
        score_products=tokens * head_dim,
        time_ns=cycles.astype(np.float64) * hardware.t_ck_ns,
        channels=1,
        element_bytes=element_bytes,
    )
    return energy(hardware, events)


def channel_events(time_ns: float, channels: int) -> Events:
    """Return the events of channels that stand still for a time."""
    none = np.zeros(1)
    return Events(none, none, none, none, none, none, none, none, none + time_ns, channels, 2)


def trace_energy(
    hardware: Hardware,
    outcome: "Outcome",
    head_dim: int,
    heads: int,
    tokens: int,
    element_bytes: int,
) -> tuple[StepEnergy, StepEnergy]:
    """Return the energy of a whole layer on a stack: (the hardware's model, `attacc`).

    `tokens` are those read, `heads` the heads of the stack.
    """
    c = outcome.commands
    org = hardware.organisation
    banks = {"MACAB": org.channel_banks, "MACSB": org.lanes, "MACPB": org.pseudo_channels}
    mac_reads = sum(c.get(name, 0) * n for name, n in banks.items())

    def number(value: float) -> FloatArray:
        return np.array([value], dtype=np.float64)

    events = Events(
        activations=number(outcome.row_activations),
        mac_reads=number(mac_reads),
        mac_commands=number(sum(c.get(name, 0) for name in banks)),
        query_writes=number(c.get("WRGB", 0)),
        moves=number(c.get("MVSB", 0) + c.get("MVGB", 0)),
        host_accesses=number(c.get("RD", 0) + c.get("WR", 0)),
        scores=number(heads * tokens),
        score_products=number(heads * tokens * head_dim),
        time_ns=number(outcome.cycles * hardware.t_ck_ns),
        channels=org.channels,
        element_bytes=element_bytes,
    )
    return energy(hardware, events), attacc_energy(hardware, events)


def _times(amount: FloatArray, coefficient: float | None) -> FloatArray | None:
    return None if coefficient is None else amount * coefficient


def _sum(*values: float | None) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
