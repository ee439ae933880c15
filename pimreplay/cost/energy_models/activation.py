"""Charge each thing that happens: rows opened, bits out of row buffers and over distances, MACs."""

from pimreplay.cost.energy_events import Events
from pimreplay.cost.energy_parts import Energy, added, times
from pimreplay.hardware.device import Hardware

ON_STACK = ("bank_group", "global_io", "tsv")
"""The distances between a row buffer and the buffer die."""
NOTES: tuple[str, ...] = ()


def charge(hardware: Hardware, events: Events) -> Energy:
    """Return the energy of events; None for parts whose coefficient nobody published."""
    e, org = hardware.energy, hardware.organisation
    bits = org.access_bytes * 8.0
    words = float(org.access_bytes * 8 // events.kv_bits)
    inward = distance_pj_per_bit(hardware, *hardware.level.inward)
    on_stack = distance_pj_per_bit(hardware, *ON_STACK)
    outside = events.query_writes + events.host_accesses
    movement = None
    if inward is not None and on_stack is not None and e.interposer_pj_per_bit is not None:
        movement = bits * (
            events.mac_reads * inward
            + (outside + events.moves) * on_stack
            + outside * e.interposer_pj_per_bit
        )
    power = events.time_ns * events.channels
    refresh_mw = e.refresh_mw_per_channel if hardware.refresh else 0.0
    return Energy(
        activation_pj=times(events.activations, e.activation_pj),
        cell_pj=times((events.mac_reads + events.host_accesses) * bits, e.cell_pj_per_bit),
        movement_pj=movement,
        mac_pj=times(events.mac_reads * words, e.mac_pj),
        softmax_pj=times(events.scores, e.softmax_pj_per_element),
        background_pj=times(power, e.background_mw_per_channel),
        refresh_pj=times(power, refresh_mw),
    )


def distance_pj_per_bit(hardware: Hardware, *distances: str) -> float | None:
    """Return the energy of a bit over some distances of the DRAM path, None when one is unknown."""
    return added(0.0, *(getattr(hardware.energy, f"{one}_pj_per_bit") for one in distances))
