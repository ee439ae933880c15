"""Energy of a step or a layer from counted commands and time, by the device's energy model.

`activation` (the default) charges what happens: each row activation, each bit out of a row
buffer, each bit over each distance, each MAC, and standby and refresh power over time.
`attacc` reproduces the accounting of the AttAcc simulator, for comparison with its figures.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.counts import Counts
from pimreplay.cost.energy_events import Events
from pimreplay.cost.energy_models import activation, attacc
from pimreplay.cost.energy_parts import Energy, FloatArray
from pimreplay.hardware.device import Geometry, Hardware
from pimreplay.hardware.levels import LEVELS

if TYPE_CHECKING:
    from pimreplay.bank_model.scheduler import Outcome

MODELS = {"activation": activation, "attacc": attacc}
"""Each with `charge` and the `NOTES` that its figures need."""


def energy(hardware: Hardware, events: Events) -> Energy:
    """Charge events with the hardware's energy model."""
    charged: Energy = MODELS[hardware.energy_model].charge(hardware, events)
    return charged


def step_energy(geometry: Geometry, counts: Counts, cycles: NDArray[np.int64]) -> Energy:
    """Return the energy of each point from its counted commands and its cycles."""
    macs = (counts.key_macs + counts.value_macs).astype(np.float64)
    rows = (counts.key_rows + counts.value_rows).astype(np.float64)
    scores = counts.scores.astype(np.float64)
    events = Events(
        activations=rows * geometry.mac_banks,
        mac_reads=macs * geometry.mac_banks,
        mac_commands=macs,
        query_writes=counts.query_writes.astype(np.float64),
        moves=(counts.softmax_moves + counts.gemv_moves).astype(np.float64),
        host_accesses=np.zeros(len(macs)),
        scores=scores,
        score_products=scores * geometry.head_dim,
        time_ns=cycles.astype(np.float64) * geometry.hardware.t_ck_ns,
        channels=1,
        kv_bits=geometry.kv_bits,
    )
    return energy(geometry.hardware, events)


def channel_events(time_ns: float, channels: int) -> Events:
    """Return the events of channels that stand still for a time."""
    none = np.zeros(1)
    return Events(none, none, none, none, none, none, none, none, none + time_ns, channels, 16)


def layer_energy(
    geometry: Geometry, outcome: "Outcome", heads: int, tokens: int
) -> tuple[Energy, Energy]:
    """Return the energy of a whole layer on a stack: (the hardware's model, `attacc`).

    `tokens` are those read, `heads` the KV heads of the stack, one query head each.
    """
    c, hardware = outcome.commands, geometry.hardware
    org = hardware.organisation
    banks = {level.mac_command: level.mac_banks(org) for level in LEVELS.values()}

    def number(value: float) -> FloatArray:
        return np.array([value], dtype=np.float64)

    events = Events(
        activations=number(outcome.row_activations),
        mac_reads=number(sum(c.get(name, 0) * n for name, n in banks.items())),
        mac_commands=number(sum(c.get(name, 0) for name in banks)),
        query_writes=number(c.get("WRGB", 0)),
        moves=number(c.get("MVSB", 0) + c.get("MVGB", 0)),
        host_accesses=number(c.get("RD", 0) + c.get("WR", 0)),
        scores=number(heads * tokens),
        score_products=number(heads * tokens * geometry.head_dim),
        time_ns=number(outcome.cycles * hardware.t_ck_ns),
        channels=org.channels,
        kv_bits=geometry.kv_bits,
    )
    return energy(hardware, events), attacc.charge(hardware, events)
