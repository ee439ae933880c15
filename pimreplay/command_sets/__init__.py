"""Command sets: what a memory with compute units can be told to do, and how long that takes.

A folder is a command set: its commands, its timing rules and its kind of controller. Each has a
`Timing`, a `DEFAULT_TIMING`, `REFRESHES` (whether its controller does), `read_requests(path)` and
`simulate(requests, timing)`.
"""

import sys
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pimreplay.hardware.numbers import is_whole
from pimreplay.hardware.preset_files import preset_table, refuse
from pimreplay.units import cycles_to_ns
from tracegen.base.discover import names
from tracegen.base.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sequence of requests took."""

    cycles: int
    commands: dict[str, int]
    """Commands issued, by name, summed over channels."""


def build_timing(cls: type, where: str, values: dict[str, Any]) -> Any:
    """Build a command set's `Timing` from a table; `UserError` names all that is wrong with it."""
    known = [one.name for one in fields(cls)]
    problems = []
    for name in known:
        value: Any = values.get(name)
        least = 1 if name == "t_ck_ps" else 0
        if name not in values:
            problems.append(f"[timing] {name} is missing; state it in cycles")
        elif not is_whole(value) or value < least:
            problems.append(
                f"[timing] {name} = {value!r} must be a whole number of at least {least}"
            )
    problems += [
        f"[timing] {name} is not a timing of this command set; {nearest(name, known)}"
        for name in values
        if name not in known
    ]
    refuse(where, problems)
    return cls(**values)


def request_lines(path: Path) -> list[str]:
    """Return the lines of a request file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; give a text file of requests") from None


def load(command_set: str) -> ModuleType:
    """Import a command set by name."""
    known = names(sys.modules[__name__])
    if command_set not in known:
        raise UserError(f"command set {command_set!r} is unknown; {nearest(command_set, known)}")
    return import_module(f"{__name__}.{command_set}")


def load_timing(command_set: str, name: str) -> Any:
    """Load a timing preset of a command set, or a .toml file's [timing]."""
    table = preset_table(name, command_set, "timing", f"{command_set} timing preset")
    return build_timing(load(command_set).Timing, name, table)


def timing_of(command_set: str, where: str, table: dict[str, Any]) -> Any:
    """Return the timing that a device file's [timing] gives: a preset, single values over it."""
    own = {key: value for key, value in table.items() if key not in ("source", "note", "preset")}
    preset = table.get("preset")
    if preset is None:
        return build_timing(load(command_set).Timing, where, own)
    if not isinstance(preset, str):
        raise UserError(f"{where}: [timing] preset = {preset!r} must be a text")
    below = preset_table(preset, command_set, "timing", f"{where}: {command_set} timing preset")
    return build_timing(load(command_set).Timing, where, {**below, **own})


def simulate_file(
    command_set: str, path: Path, timing_name: str | None, *, refresh: bool = True
) -> dict[str, Any]:
    """Run a request file; return cycles, time and commands as one JSON object."""
    module = load(command_set)
    name = timing_name or module.DEFAULT_TIMING
    timing = load_timing(command_set, name)
    if not refresh and not module.REFRESHES:
        raise UserError(f"command set {command_set}: never refreshes; leave out --no-refresh")
    options = {"refresh": refresh} if module.REFRESHES else {}
    requests = module.read_requests(path)
    try:
        outcome = module.simulate(requests, timing, **options)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return {
        "file": str(path),
        "command_set": command_set,
        "timing": name,
        "cycles": outcome.cycles,
        "time_ns": cycles_to_ns(outcome.cycles, timing.t_ck_ps),
        "commands": outcome.commands,
    }
