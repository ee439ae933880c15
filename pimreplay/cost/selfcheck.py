"""Whether a device does what its numbers promise: `pimreplay selfcheck`."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from pimreplay.bank_model.scheduler import schedule
from pimreplay.bank_model.simulate import peak_bandwidth_gbps
from pimreplay.cost.energy import channel_events
from pimreplay.cost.energy_models import activation
from pimreplay.hardware.device import Hardware
from pimreplay.hardware.timing import Timing

TOLERANCE = 0.03
_LIMITS = {
    "activate to column": ("n_rcdrd_cycles",),
    "four-activate window": ("n_faw_cycles",),
    "activate to activate": ("n_rrds_cycles", "n_rrdl_cycles"),
    "column to column in a bank group": ("n_ccdl_cycles",),
    "row switches": (
        "n_rtpl_cycles",
        "n_rp_cycles",
        "n_rcdrd_cycles",
        "n_ras_cycles",
        "n_rc_cycles",
    ),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One statement about a device, and whether it holds."""

    hardware: str
    name: str
    passed: bool
    text: str

    def row(self) -> dict[str, Any]:
        """Return the check as one JSON object."""
        return asdict(self)


def check(hardware: Hardware) -> list[Check]:
    """Check peak bandwidths, capacity and energy of a device."""
    level = hardware.level
    return [
        _stream(hardware, level.mac_request, level.mac_command, level.mac_rule),
        _stream(hardware, "LD", "RD", "n_bl"),
        _capacity(hardware),
        _energy(hardware),
    ]


def _stream(hardware: Hardware, word: str, command: str, rule: str) -> Check:
    """Run a stream that opens each row once, and compare its steady rate with the closed form.

    Two lengths are run without refresh; the difference leaves out the first opening. Below the
    peak, the check passes when taking one timing away reaches it: that one limits the stream.
    """
    org, timing = hardware.organisation, hardware.timing
    banks = 1 if command == "RD" else hardware.level.mac_banks(org)
    accesses = 8 * _accesses_per_row_set(hardware, word)
    n_bytes = accesses * banks * org.access_bytes * org.channels
    peak = peak_bandwidth_gbps(org, timing, command)

    def reached(times: Timing) -> float:
        short, long = (_cycles(hardware, times, word, rows) for rows in (4, 12))
        return (n_bytes / ((long - short) * hardware.t_ck_ns)) / peak

    ratio = reached(timing)
    what = "streaming reads" if command == "RD" else "MAC stream"
    text = f"{what}: {ratio * peak:,.0f} GB/s, {ratio:.1%} of the {peak:,.0f} GB/s peak ({rule})"
    passed = ratio >= 1 - TOLERANCE
    if not passed:
        # which timing, taken away, helps most? All that a row switch consists of go together.
        without = {name: reached(replace(timing, **dict.fromkeys(fields, 1)))
                   for name, fields in _LIMITS.items()}  # fmt: skip
        name = max(without, key=lambda one: without[one])
        values = ", ".join(f"{field} = {getattr(timing, field)}" for field in _LIMITS[name])
        passed = without[name] >= 1 - TOLERANCE
        text += f"; limited by {name}: {values} (without: {without[name]:.1%})"
    return Check(hardware.name, f"{command.lower()}_peak", passed, text)


def _accesses_per_row_set(hardware: Hardware, word: str) -> int:
    org = hardware.organisation
    if word == "PIM_MAC_AB":
        return org.columns
    if word == "PIM_MAC_SB":
        return org.columns * org.banks
    pairs = org.ranks * org.bank_groups * org.banks
    return org.columns * pairs * (1 if word == "PIM_MAC_PB" else org.pseudo_channels)


def _cycles(hardware: Hardware, timing: Timing, word: str, rows: int) -> int:
    """Cycles of reading `rows` rows of every bank in the order that hides their opening."""
    org = hardware.organisation
    m = AddressMap.of(org)
    halves = org.pseudo_channels if word == "LD" else 1
    spread = 1 if word.startswith("PIM_MAC_A") or word.startswith("PIM_MAC_S") else 0
    places: list[int] = []
    for row in range(rows):
        for bank in range(1 if word == "PIM_MAC_AB" else org.banks):
            for column in range(org.columns):
                for group in range(1 if spread else org.bank_groups):
                    for rank in range(1 if spread else org.ranks):
                        places.extend(
                            m.address(0, half, rank, group, bank, row, column)
                            for half in range(halves)
                        )
    address = np.array(places, dtype=np.int64)
    kind = np.full(len(address), REQUEST_WORDS.index(word), dtype=np.uint8)
    one = replace(org, channels=1)
    return schedule(Requests(kind, address), one, timing, refresh=False).cycles


def _capacity(hardware: Hardware) -> Check:
    org = hardware.organisation
    stated = hardware.values.get("organisation", {}).get("capacity_bytes")
    passed = stated is None or stated == org.capacity_bytes
    text = f"capacity {org.capacity_bytes / 2**30:g} GiB from the organisation"
    text += " equals the stated one" if stated is not None else "; the file states none"
    return Check(hardware.name, "capacity", passed, text)


def _energy(hardware: Hardware) -> Check:
    """Standing still for a second must cost the standby and refresh power, nothing else."""
    e = hardware.energy
    if e.background_mw_per_channel is None or e.refresh_mw_per_channel is None:
        return Check(
            hardware.name, "energy", True, "standby power unknown: total energies are null"
        )
    org = hardware.organisation
    time_ns = 1e9
    energy = activation.charge(hardware, channel_events(time_ns, org.channels)).total_pj
    power_mw = e.background_mw_per_channel + hardware.refresh * e.refresh_mw_per_channel
    expected = power_mw * org.channels * time_ns
    if energy is None:
        return Check(hardware.name, "energy", True, "some energy unknown: totals are null")
    passed = bool(abs(float(energy[0]) / expected - 1) < 1e-9)
    text = f"idle energy equals power x time ({power_mw * org.channels / 1000:.2f} W a stack)"
    return Check(hardware.name, "energy", passed, text)
