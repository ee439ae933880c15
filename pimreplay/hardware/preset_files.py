"""Presets of timings and organisations: `presets/*.toml`, or a user's own TOML file.

A path to a file with a `[timing]` table (for organisations, an `[organisation]` table) works
wherever a preset name does.
"""

from functools import cache
from pathlib import Path
from typing import Any

from pimreplay.hardware.organisation import (
    Organisation,
    build_organisation,
    organisation_problems,
)
from pimreplay.hardware.timing import Timing, build_timing, timing_problems
from tracegen.base.documents import read_toml
from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent / "presets"


@cache
def _presets(kind: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        content = read_toml(path)
        for name, values in content.get(kind, {}).items():
            if name in found:
                raise UserError(f"{path}: preset {name} is defined twice; rename one of them")
            found[name] = values
    return found


def timing_names() -> list[str]:
    """Return the names of the timing presets."""
    return list(_presets("presets"))


def organisation_names() -> list[str]:
    """Return the names of the organisation presets."""
    return list(_presets("organisations"))


def timing_values(name: str) -> dict[str, Any]:
    """Return the raw table of a timing preset or of a TOML file's [timing]."""
    return preset_table(name, "presets", "timing", "timing preset")


def organisation_values(name: str) -> dict[str, Any]:
    """Return the raw table of an organisation preset or of a TOML file's [organisation]."""
    return preset_table(name, "organisations", "organisation", "organisation preset")


def preset_table(
    name: str, kind: str, section: str, word: str, seen: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """Return the raw table of a preset of a kind, or of a TOML file's `section`."""
    presets = _presets(kind)
    if name in presets:
        return dict(presets[name])
    path = Path(name)
    if path.suffix != ".toml":
        raise UserError(
            f"{word} {name!r} is unknown; {nearest(name, presets)}; or give a .toml file"
        )
    if path.resolve() in seen:
        raise UserError(f"{path}: [{section}] preset leads back to itself; name another")
    table = read_toml(path).get(section)
    if not isinstance(table, dict):
        raise UserError(f"{path}: has no [{section}] table; add one with the values of a preset")
    table = {key: value for key, value in table.items() if key not in ("source", "note")}
    preset = table.pop("preset", None)
    if preset is None:
        return table
    if not isinstance(preset, str):
        raise UserError(f"{path}: [{section}] preset = {preset!r} must be a text")
    return {**preset_table(preset, kind, section, word, (*seen, path.resolve())), **table}


def load_organisation(name: str) -> Organisation:
    """Load an organisation preset or file; all its problems in one `UserError`."""
    values = organisation_values(name)
    refuse(name, organisation_problems(values))
    return build_organisation(values)


def load_timing(name: str, organisation: Organisation) -> Timing:
    """Load a timing preset or file for an organisation; all its problems in one `UserError`."""
    values = timing_values(name)
    refuse(name, timing_problems(values, organisation.t_rfc_ns))
    return build_timing(values, organisation.t_rfc_ns)


def refuse(where: str, problems: list[str]) -> None:
    """Raise one `UserError` with all problems of a file, if there are any."""
    if problems:
        raise UserError(f"{where}: " + "; ".join(problems))
