"""Is a log of issued commands legal? Judged from the rules alone, with no scheduler in sight.

A log is (cycle, channel, command, bank of the channel or -1, row). The checker keeps, for each
channel, what was issued when, and states two things about every command: no rule between it and an
earlier one is broken, and its rows are as it needs them. `could_go_sooner` adds the other side.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from slow_scheduler import ACCESS, COLUMN_BUS, LEVELS, OPENING, ROW_BUS, SCOPE, rules

Entry = tuple[int, int, str, int, int]


@dataclass
class Device:
    """Banks of one channel, replaying a log."""

    timing: Mapping[str, int]
    shape: tuple[int, int, int, int]
    issued: list[tuple[int, str, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = rules(self.timing)
        self.banks = list(product(*(range(n) for n in self.shape)))
        self.open: dict[tuple[int, ...], set[int]] = {bank: set() for bank in self.banks}

    def reached(self, command: str, where: tuple[int, ...], node: tuple[int, ...]) -> bool:
        """Does a command at `where` count in this node (a path from the channel down)?"""
        if where[: len(node)] == node:
            return True
        if len(node) < 4:
            return False
        if command == "MACSB":
            return node[3] == where[3]
        # the broadcast is told to the wrong banks, as in the reference
        return command == "MACPB" and node[1:] == (where[0], where[1], where[3])

    def earliest(self, command: str, where: tuple[int, ...]) -> int:
        """The first cycle that no rule forbids, by looking at all earlier commands."""
        first = 0
        for depth in range(SCOPE.get(command, 4) + 1):
            if len(where) < depth:
                break
            node = where[:depth]
            for level, before, after, distance, window in self.rules:
                if level != LEVELS[depth] or command not in after.split():
                    continue
                for earlier in before.split():
                    cycles = [
                        cycle
                        for cycle, name, place in self.issued
                        if name == earlier
                        and len(place) >= depth
                        and self.reached(name, place, node)
                    ]
                    if len(cycles) >= window:
                        first = max(first, sorted(cycles)[-window] + distance)
        return first

    def touched(self, command: str, where: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Banks whose rows the command opens, closes or reads."""
        if command in ("PREA", "ACTAB", "MACAB", "REFab"):
            return self.banks
        if command in ("ACTSB", "MACSB"):
            return [bank for bank in self.banks if bank[3] == where[3]]
        if command in ("ACTPB", "MACPB", "PRESB", "PREPB"):
            return [bank for bank in self.banks if bank[1:] == where[1:]]
        return [where]

    def apply(self, cycle: int, command: str, where: tuple[int, ...], row: int) -> list[str]:
        """Issue a command; return what is wrong with it."""
        wrong = []
        first = self.earliest(command, where)
        if cycle < first:
            wrong.append(f"{command} at cycle {cycle}, allowed from {first}")
        banks = self.touched(command, where)
        if command in ACCESS and any(row not in self.open[bank] for bank in banks):
            wrong.append(f"{command} at cycle {cycle}: row {row} is not open")
        if command == "REFab" and any(self.open.values()):
            wrong.append(f"REFab at cycle {cycle}: rows are open")
        if command in OPENING:
            for bank in banks:
                self.open[bank].add(row)
        elif command.startswith("PRE"):
            for bank in banks:
                self.open[bank].clear()
        self.issued.append((cycle, command, where))
        return wrong


def place_of(bank: int, shape: tuple[int, int, int, int], command: str) -> tuple[int, ...]:
    """Return (pseudo-channel, rank, group, bank) of a bank; a refresh has the first only."""
    _halves, ranks, groups, banks = shape
    group, own = divmod(bank, banks)
    rank, group = divmod(group, groups)
    half, rank = divmod(rank, ranks)
    return (half,) if command == "REFab" else (half, rank, group, own)


def violations(
    log: Iterable[Entry], timing: Mapping[str, int], shape: tuple[int, int, int, int]
) -> list[str]:
    """Return everything illegal in a log, one sentence each."""
    devices: dict[int, Device] = {}
    slots: dict[tuple[int, int], list[str]] = {}
    found = []
    for cycle, channel, command, bank, row in log:
        device = devices.setdefault(channel, Device(timing, shape))
        where = place_of(bank, shape, command)
        if command == "PREA" and row < 0:
            where = where[:1]  # a refresh's
        found += device.apply(cycle, command, where, row)
        slots.setdefault((channel, cycle), []).append(command)
    for (channel, cycle), commands in slots.items():
        if len(commands) > 2:
            found.append(f"channel {channel}, cycle {cycle}: {len(commands)} commands")
        elif len(commands) == 2 and not all(
            sum(name in bus for name in commands) == 1 for bus in (ROW_BUS, COLUMN_BUS)
        ):
            found.append(f"channel {channel}, cycle {cycle}: {commands} on one bus")
    return found


def could_go_sooner(
    log: list[Entry],
    timing: Mapping[str, int],
    shape: tuple[int, int, int, int],
) -> list[str]:
    """Return commands that an idle controller held back for no reason.

    For streams that fit into the queue at once, without barriers and refresh: when a channel
    issues nothing in the cycle before a command, that command must have been forbidden there, or
    have been one that disturbs a bank whose open row a waiting request can read.
    """
    found = []
    by_channel: dict[int, list[Entry]] = {}
    for entry in log:
        by_channel.setdefault(entry[1], []).append(entry)
    for entries in by_channel.values():
        device = Device(timing, shape)
        busy = {cycle for cycle, *_ in entries}
        for index, (cycle, channel, command, bank, row) in enumerate(entries):
            where = place_of(bank, shape, command)
            first = device.earliest(command, where)
            wanted = any(
                later[3] == bank
                and later[2] in ACCESS
                and all(
                    later[4] in device.open[b]
                    for b in device.touched(later[2], place_of(later[3], shape, later[2]))
                )
                for later in entries[index + 1 :]
            )
            # the command before it in the same cycle may have opened its row
            opened = any(earlier[0] == cycle for earlier in entries[:index])
            idle = cycle - 1 not in busy and cycle > 1 and not opened
            if idle and cycle > first and not (wanted and command not in ACCESS):
                found.append(f"channel {channel}: {command} at {cycle} could go at {first}")
            device.apply(cycle, command, where, row)
    return found


def memory_violations(
    log: Iterable[tuple[int, str, int, int]],
    distance: Callable[[str, str, bool, bool], int],
    banks: int,
) -> list[str]:
    """Return what is illegal in one channel's log of an AiM or an HBM-PIM, one sentence each.

    A log is (cycle, command, bank, row); a command whose name ends in 16, or PREA, acts on all
    banks. `distance(before, after, same bank, same bank group)` is the least gap. WRA16 closes the
    rows that it writes, and a refresh of HBM-PIM does not wait for precharges.
    """
    found: list[str] = []
    opened: dict[int, int] = {}
    seen: list[tuple[int, str, int]] = []
    for cycle, command, bank, row in log:
        if seen and cycle <= seen[-1][0]:
            found.append(f"{command} at cycle {cycle}: a command was issued at {seen[-1][0]}")
        for then, before, other in seen[-80:]:
            both = command.endswith("16") or before.endswith("16") or "PREA" in (command, before)
            near = both or other // 4 == bank // 4
            first = then + distance(before, command, both or other == bank, near)
            if cycle < first:
                found.append(f"{command} at cycle {cycle}: {before} at {then} allows {first}")
        everywhere = command.endswith("16") or command in ("PREA", "REF")
        touched = list(range(banks)) if everywhere else [bank]
        if command in ("ACT", "ACT16") and any(one in opened for one in touched):
            found.append(f"{command} at cycle {cycle}: a row is open")
        if command in ("RD", "WR", "MAC16", "AF16", "EWMUL16", "WRA16") and any(
            opened.get(one) != row for one in touched
        ):
            found.append(f"{command} at cycle {cycle}: row {row} is not open")
        if command == "REF" and opened:
            found.append(f"REF at cycle {cycle}: rows are open")
        if command in ("ACT", "ACT16"):
            opened.update(dict.fromkeys(touched, row))
        if command in ("PRE", "PREA", "WRA16"):
            for one in touched:
                opened.pop(one, None)
        seen.append((cycle, command, bank))
    return found
