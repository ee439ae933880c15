"""Hardware files: one TOML file a device, values with their unit and their source.

A file's stem is its name. `[organisation]` and `[timing]` take a preset and overrides, `[pim]`
says where the MAC units are, `[energy]` the coefficients; `base` starts from another file.
Values nobody measured are listed under `assumed` and stay visible in every result.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pimreplay.hardware.checks import (
    TABLES,
    are_texts,
    energy_problems,
    host_problems,
    pim_problems,
    table_problems,
    text_problems,
)
from pimreplay.hardware.device import EnergyTable, Hardware
from pimreplay.hardware.levels import LEVELS
from pimreplay.hardware.organisation import build_organisation, organisation_problems
from pimreplay.hardware.preset_files import organisation_values, timing_values
from pimreplay.hardware.timing import build_timing, timing_problems
from tracegen.base.documents import read_toml
from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the shipped hardware files."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str | Path) -> Hardware:
    """Load a device of AttAcc's mapping; all problems of its file at once."""
    path, values = content(name_or_path)
    return checked(path, values)


def content(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return a shipped device's file by name, or any by path, and what it and its bases hold."""
    text = str(name_or_path)
    path = FOLDER / f"{text}.toml" if text in names() else Path(text)
    if path.suffix != ".toml":
        raise UserError(
            f"hardware {text!r} is unknown; {nearest(text, names())}; or give a .toml file"
        )
    return path, _merged(path, ())


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return what a file holds over what its base holds; what is wrong stays in."""
    values = read_toml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    parent = _base(path, base)
    if parent.resolve() in (*seen, path.resolve()):
        raise UserError(f"{path}: base = {base!r} leads back to itself; name another")
    merged = _merged(parent, (*seen, path.resolve()))
    for key, value in values.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            if "preset" in value:  # another preset starts afresh
                kept = {k: v for k, v in below.items() if k in ("source", "note")}
                merged[key] = {**kept, **value}
            else:
                merged[key] = {**below, **value}
        elif key == "assumed" and are_texts(value) and are_texts(below):
            # what the base assumes stays assumed, but for the tables that this file fills itself
            kept_texts = [text for text in below if text.partition(":")[0] not in values]
            merged[key] = [*kept_texts, *(text for text in value if text not in kept_texts)]
        else:
            merged[key] = value
    return merged


def _base(path: Path, base: object) -> Path:
    """Return the file of a base: shipped, or beside the file that names it."""
    if isinstance(base, str):
        places = [FOLDER / f"{base}.toml"] if base in names() else []
        places += [one for one in path.parent.glob("*.toml") if one.stem == base]
        if places:
            return places[0]
    raise UserError(f"{path}: base = {base!r} is unknown; {nearest(str(base), names())}")


def checked(path: Path, values: dict[str, Any]) -> Hardware:
    """Return the device that a file's content describes, its base merged in already.

    Raises:
        UserError: everything that is wrong with it; `path` says where it stands.
    """
    if values.get("mapping", "attacc") != "attacc":
        raise UserError(
            f"{path}: mapping = {values['mapping']!r}; only a device of AttAcc's mapping fits here"
        )
    problems = text_problems(values) + table_problems(values)
    given = {name: values.get(name, {}) for name in TABLES}
    given = {name: table if isinstance(table, dict) else {} for name, table in given.items()}
    tables = {
        name: {key: value for key, value in table.items() if key not in ("source", "note")}
        for name, table in given.items()
    }
    org_values, problem = _preset(tables["organisation"], organisation_values)
    problems.extend(problem)
    if tables["organisation"] and not problem:
        problems.extend(organisation_problems(org_values))
    timing, problem = _preset(tables["timing"], timing_values)
    problems.extend(problem)
    if tables["timing"] and not problem:
        problems.extend(timing_problems(timing, org_values.get("t_rfc_ns")))
    if given["pim"]:
        problems.extend(pim_problems(tables["pim"]))
    problems.extend(energy_problems(tables["energy"], values.get("energy_model", "activation")))
    problems.extend(host_problems(tables["host"]))
    if problems:
        raise UserError(f"{path}: " + "; ".join(problems))
    organisation = build_organisation(org_values)
    return Hardware(
        name=path.stem,
        title=values.get("title", path.stem),
        level=LEVELS[tables["pim"]["level"]],
        organisation=organisation,
        timing=build_timing(timing, organisation.t_rfc_ns),
        energy=EnergyTable(**tables["energy"]),
        energy_model=values.get("energy_model", "activation"),
        sources={name: table.get("source", "") for name, table in given.items()},
        assumed=tuple(values.get("assumed", ())),
        notes=tuple(values.get("notes", ())),
        refresh=tables["pim"].get("refresh", True),
        host_flops_per_ns=tables["host"].get("flops_per_ns"),
        host_pj_per_flop=tables["host"].get("pj_per_flop"),
        values=values,
    )


def _preset(
    table: dict[str, Any], read: Callable[[str], dict[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    own = {k: v for k, v in table.items() if k != "preset"}
    if not isinstance(table.get("preset"), str):
        return own, []
    try:
        return {**read(table["preset"]), **own}, []
    except UserError as error:
        return own, [str(error)]
