"""Charge events as the AttAcc simulator does, its slips included, to compare with its figures.

Data-path energies are pJ per bit there and multiplied with bytes, so they come out an eighth of
what was meant; activation is spread over the bits read; only the score product is charged for
arithmetic; standby and refresh are not charged.
Source: scale-snu/attacc_simulator @ c600051, src/config.py, src/devices.py,
src/ramulator_wrapper.py.
"""

from pimreplay.cost.energy_events import Events
from pimreplay.cost.energy_parts import Energy
from pimreplay.hardware.device import Hardware

ROW_BUFFER_PJ_PER_BIT = (0.11, 0.44)
"""Activation, spread over the bits read, and the row buffer."""
DISTANCE_PJ_PER_BIT = {"interposer": 0.3, "tsv": 0.5, "global_io": 1.23, "bank_group": 1.01}
MAC_PJ = 0.32
SRAM_PJ_PER_BYTE = 0.0034
SOFTMAX_OPERATIONS = 5
NOTES = (
    "attacc model: activation is part of cell_pj, background and refresh are not charged",
    "attacc model: movement is an eighth of what its coefficients mean (bytes for bits)",
)


def charge(hardware: Hardware, events: Events) -> Energy:
    """Return the energy of events in that simulator's accounting."""
    access = hardware.organisation.access_bytes
    distance, level = DISTANCE_PJ_PER_BIT, hardware.level
    writes = events.query_writes * float(access)
    moved = (events.query_writes + events.moves) * float(access)
    path = distance["tsv"] + distance["global_io"] + distance["bank_group"]
    nothing = events.time_ns * 0.0
    read = events.mac_commands * float(access * level.attacc_mac_banks)
    cell_pj_per_bit = sum((*ROW_BUFFER_PJ_PER_BIT, *(distance[one] for one in level.inward)))
    softmax = events.scores * (
        2 * (events.kv_bits / 8) * SRAM_PJ_PER_BYTE + SOFTMAX_OPERATIONS / 2 * MAC_PJ
    )
    return Energy(
        activation_pj=nothing,
        cell_pj=read * (cell_pj_per_bit * 8),
        movement_pj=writes * distance["interposer"] + moved * path,
        mac_pj=events.score_products * MAC_PJ,
        softmax_pj=softmax,
        background_pj=nothing,
        refresh_pj=nothing,
    )
