"""Energy again, slow and obvious: a log of commands is charged one command at a time.

It shares no code with `pimreplay`. What is charged follows docs/timing_rules.md ("Energy") and
docs/units.md; a None is a price that nobody published, and what needs it is None too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from slow_step import Device

Log = Sequence[tuple[int, str, tuple[int, ...]]]
"""(cycle, command, (channel, pseudo-channel, rank, bank group, bank, row))."""
PARTS = ("activation", "cell", "movement", "mac", "softmax", "background", "refresh")
OPENED_BY = {"ACT", "ACTAB", "ACTSB", "ACTPB"}
MACS = {"MACAB", "MACSB", "MACPB"}


@dataclass
class Bill:
    """Energy by part, pJ; a part that met an unknown price stays None."""

    parts: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def add(self, part: str, amount: float, price_pj: float | None) -> None:
        so_far = self.parts[part]
        known = so_far is not None and price_pj is not None
        self.parts[part] = so_far + amount * price_pj if known else None

    @property
    def total_pj(self) -> float | None:
        total = 0.0
        for amount in self.parts.values():
            if amount is None:
                return None
            total += amount
        return total


def charge(
    device: Device,
    log: Log,
    cycles: int,
    model: str,
    *,
    scores: int,
    head_dim: int,
    element_bytes: float,
    channels: int = 1,
) -> Bill:
    """Charge every command of a log, then the time; `scores` went through the softmax."""
    bill = Bill()
    charge_command = {"activation": charge_activation_model, "attacc": charge_attacc_model}[model]
    for _, command, _ in log:
        charge_command(bill, device, command, element_bytes)
    price = device.energy
    time_ns = cycles * device.t_ck_ns
    if model == "activation":
        for _ in range(scores):
            bill.add("softmax", 1, price["softmax_pj_per_element"])
        for _ in range(channels):  # a mW for a ns is a pJ
            bill.add("background", time_ns, price["background_mw_per_channel"])
            if device.refresh:
                bill.add("refresh", time_ns, price["refresh_mw_per_channel"])
    else:
        for _ in range(scores):
            # in and out of SRAM at 0.0034 pJ a byte; five operations, half a MAC of 0.32 pJ each
            bill.add("softmax", 2 * element_bytes, 0.0034)
            bill.add("softmax", 5, 0.32 / 2)
            bill.add("mac", head_dim, 0.32)
    return bill


def charge_activation_model(bill: Bill, device: Device, command: str, element_bytes: float) -> None:
    """Charge one command: rows opened, bits out of row buffers and over each distance, MACs."""
    price = device.energy
    bits = device.access_bytes * 8
    on_stack = ("bank_group_pj_per_bit", "global_io_pj_per_bit", "tsv_pj_per_bit")
    to_host = (*on_stack, "interposer_pj_per_bit")
    # how far what a MAC reads goes: the bank's own unit, its bank group's, the buffer die's
    to_mac = {"bank": (), "bg": ("bank_group_pj_per_bit",), "buffer": on_stack}[device.level]
    if command in OPENED_BY:
        opened = {
            "ACT": 1,
            "ACTAB": device.lanes * device.banks,
            "ACTSB": device.lanes,
            "ACTPB": device.pseudo_channels,
        }[command]
        for _ in range(opened):
            bill.add("activation", 1, price["activation_pj"])
    elif command in MACS:
        for _ in range(device.banks_at_once):
            bill.add("cell", bits, price["cell_pj_per_bit"])
            for distance in to_mac:
                bill.add("movement", bits, price[distance])
            bill.add("mac", device.access_bytes // element_bytes, price["mac_pj"])
    elif command in ("RD", "WR", "WRGB"):
        for distance in to_host:
            bill.add("movement", bits, price[distance])
        if command != "WRGB":
            bill.add("cell", bits, price["cell_pj_per_bit"])
    elif command in ("MVSB", "MVGB"):
        for distance in on_stack:
            bill.add("movement", bits, price[distance])


def charge_attacc_model(bill: Bill, device: Device, command: str, element_bytes: float) -> None:
    """Charge one command as the AttAcc simulator does: pJ per bit times bytes on the data path."""
    if command in MACS:
        banks = {"bank": 64, "bg": 16, "buffer": 1}[device.level]
        per_bit = {"bank": 0.11 + 0.44, "bg": 0.11 + 0.44 + 1.01}
        per_bit["buffer"] = 0.11 + 0.44 + 1.01 + 1.23 + 0.50
        bill.add("cell", banks * device.access_bytes * 8, per_bit[device.level])
    if command in ("WRGB", "MVSB", "MVGB"):
        bill.add("movement", device.access_bytes, 0.50 + 1.23 + 1.01)
    if command == "WRGB":
        bill.add("movement", device.access_bytes, 0.30)
