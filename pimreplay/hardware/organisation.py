"""How many of everything a stack has, and what makes a table of it wrong."""

from dataclasses import dataclass, fields
from typing import Any

from pimreplay.hardware.numbers import MOST, is_time, is_whole
from tracegen.base.errors import nearest


@dataclass(frozen=True, slots=True)
class Organisation:
    """How many of everything a stack has; capacities in bytes follow."""

    channels: int
    pseudo_channels: int
    ranks: int
    bank_groups: int
    banks: int
    rows: int
    columns: int
    access_bytes: int
    channel_density_mbit: int
    t_rfc_ns: float

    @property
    def lanes(self) -> int:
        """Bank groups of a channel: how many tokens one all-bank access reads."""
        return self.pseudo_channels * self.ranks * self.bank_groups

    @property
    def channel_banks(self) -> int:
        """Banks of a channel."""
        return self.lanes * self.banks

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of one bank."""
        return self.columns * self.access_bytes

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the stack."""
        return self.channels * self.channel_banks * self.rows * self.row_bytes


MOST_CHANNELS = 4096
MOST_CHANNEL_BANKS = 4096
MOST_BYTES = 1 << 56
"""Of a stack; what is simulated has room for more than anyone has built."""


def organisation_problems(values: dict[str, Any]) -> list[str]:
    """Return everything wrong with an organisation table, one sentence each."""
    problems = []
    expected = [f.name for f in fields(Organisation)]
    for name in expected:
        value = values.get(name)
        if name not in values:
            problems.append(f"[organisation] {name} is missing")
        elif name == "t_rfc_ns":
            if not is_time(value):
                problems.append(
                    f"[organisation] t_rfc_ns = {value!r} must be above 0, at most {MOST:g}"
                )
        elif not is_whole(value) or value <= 0:
            problems.append(f"[organisation] {name} = {value!r} must be a whole number above 0")
    unsound = bool(problems)
    for name in ("rows", "columns", "access_bytes", "bank_groups", "banks", "pseudo_channels"):
        value = values.get(name)
        if is_whole(value) and value > 0 and value & (value - 1):
            problems.append(
                f"[organisation] {name} = {value} must be a power of two: addresses have whole bits"
            )
    known = [*expected, "capacity_bytes"]
    problems.extend(
        f"[organisation] {name} is unknown; {nearest(name, known)}"
        for name in values
        if name not in known
    )
    if unsound:
        return problems
    built = Organisation(**{name: values[name] for name in expected})
    for name, found, most in (
        ("channels", built.channels, MOST_CHANNELS),
        ("banks of a channel", built.channel_banks, MOST_CHANNEL_BANKS),
        ("bytes", built.capacity_bytes, MOST_BYTES),
    ):
        if found > most:
            problems.append(f"[organisation] {found:,} {name}; at most {most:,} can be simulated")
    density = built.capacity_bytes // built.channels * 8 >> 20
    if density != built.channel_density_mbit:
        problems.append(
            f"[organisation] pseudo_channels x ranks x bank_groups x banks x rows x columns x "
            f"access_bytes give {density} Mbit a channel, channel_density_mbit says "
            f"{built.channel_density_mbit}; correct one of them"
        )
    stated = values.get("capacity_bytes")
    if stated is not None and stated != built.capacity_bytes:
        problems.append(
            f"[organisation] the numbers give {built.capacity_bytes} bytes, capacity_bytes says "
            f"{stated}; correct one of them"
        )
    return problems


def build_organisation(values: dict[str, Any]) -> Organisation:
    """Build an `Organisation` from a sound table."""
    return Organisation(**{f.name: values[f.name] for f in fields(Organisation)})
