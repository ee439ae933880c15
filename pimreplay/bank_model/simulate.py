"""What a command trace takes on a device: `pimreplay simulate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.announced import announced
from pimreplay.bank_model.command_trace import read_command_trace
from pimreplay.bank_model.commands import DATA_COMMANDS
from pimreplay.bank_model.scheduler import Outcome, Scheduler
from pimreplay.bank_model.timeline import logging_scheduler, write_timeline
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing
from pimreplay.units import cycles_to_ns, gigabytes_per_second
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class Report:
    """An outcome with its time and its bandwidths."""

    outcome: Outcome
    time_ns: float
    data_bus_ratio: float
    """Share of the time in which the channels' data buses carry data."""
    internal_bytes: int
    """Bytes that MACs read in the banks, and reads and writes move."""
    achieved_gbps: float | None
    peak_gbps: float
    peak_of: str
    """Which command's rate the peak is."""

    def row(self, file: str, timing: str, organisation: str, refresh: bool) -> dict[str, Any]:
        """Return the report as one JSON object."""
        out = self.outcome
        return {
            "file": file,
            "timing": timing,
            "org": organisation,
            "refresh": refresh,
            "cycles": out.cycles,
            "time_ns": self.time_ns,
            "requests": out.requests,
            "commands": out.commands,
            "row_activations": out.row_activations,
            "data_bus_utilisation_ratio": self.data_bus_ratio,
            "internal_bytes": self.internal_bytes,
            "achieved_bandwidth_gbps": self.achieved_gbps,
            "peak_bandwidth_gbps": self.peak_gbps,
            "peak_of": self.peak_of,
            "peak_ratio": (
                None if self.achieved_gbps is None else self.achieved_gbps / self.peak_gbps
            ),
        }


def peak_bandwidth_gbps(org: Organisation, timing: Timing, command: str) -> float:
    """Return the closed-form peak of a command in all channels, GB/s (1e9 bytes a second)."""
    banks, spacing = {
        "MACAB": (org.channel_banks, timing.n_ccdab_cycles),
        "MACSB": (org.lanes, timing.n_ccdsb_cycles),
        "MACPB": (org.pseudo_channels, timing.n_bl_cycles),
        "RD": (org.pseudo_channels, timing.n_bl_cycles),
    }[command]
    return org.channels * banks * org.access_bytes / cycles_to_ns(spacing, timing.t_ck_ps)


def report(outcome: Outcome, org: Organisation, timing: Timing) -> Report:
    """Work out time and bandwidths of an outcome."""
    commands = outcome.commands
    read_banks = {
        "MACAB": org.channel_banks,
        "MACSB": org.lanes,
        "MACPB": org.pseudo_channels,
        "RD": 1,
        "WR": 1,
    }
    by_command = {n: commands.get(n, 0) * b * org.access_bytes for n, b in read_banks.items()}
    internal = sum(by_command.values())
    busiest = max(by_command, key=lambda name: by_command[name])
    peak_of = "RD" if busiest == "WR" or not internal else busiest
    data = sum(commands.get(name, 0) for name in DATA_COMMANDS)
    time_ns = cycles_to_ns(outcome.cycles, timing.t_ck_ps)
    return Report(
        outcome=outcome,
        time_ns=time_ns,
        data_bus_ratio=data
        * timing.n_bl_cycles
        / (outcome.cycles * org.pseudo_channels * org.channels),
        internal_bytes=internal,
        achieved_gbps=gigabytes_per_second(internal, time_ns),
        peak_gbps=peak_bandwidth_gbps(org, timing, peak_of),
        peak_of=peak_of,
    )


def simulate(
    path: Path,
    org: Organisation,
    timing: Timing,
    *,
    refresh: bool = True,
    timeline: Path | None = None,
) -> Report:
    """Run the command trace in a file, in bounded memory however long it is.

    Args:
        path: The command trace.
        org: Counts of the device.
        timing: Its timings.
        refresh: All-bank refresh every tREFI.
        timeline: File to write every command over time to; None: none.
    """
    new = Scheduler if timeline is None else logging_scheduler
    scheduler = new(org, timing, refresh=refresh)
    try:
        for requests in announced(read_command_trace(path, AddressMap.of(org)), str(path)):
            scheduler.feed(requests)
        outcome = scheduler.finish()
        if timeline is not None:
            write_timeline(scheduler, timeline)
    except UserError as error:
        text = str(error)
        raise UserError(text if str(path) in text else f"{path}: {text}") from None
    return report(outcome, org, timing)
