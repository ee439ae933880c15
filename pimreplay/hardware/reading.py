"""Hardware files: one TOML file a device, values with their unit and their source.

A file's stem is its name. `[organisation]` and `[timing]` take a preset and overrides, `[pim]`
says where the MAC units are, `[energy]` the coefficients; `base` starts from another file.
Values nobody measured are listed under `assumed` and stay visible in every result.
"""

from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any

from pimreplay.hardware.device import ENERGY_MODELS, EnergyTable, Hardware
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
    """Load a shipped hardware file by name, or any file by path; all problems at once."""
    text = str(name_or_path)
    path = FOLDER / f"{text}.toml"
    if not path.exists():
        path = Path(text)
        if path.suffix != ".toml":
            raise UserError(
                f"hardware {text!r} is unknown; {nearest(text, names())}; or give a .toml file"
            )
    values = _merged(path, ())
    return checked(path, values)


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    values = read_toml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    parent = FOLDER / f"{base}.toml"
    if not parent.exists():
        parent = path.parent / f"{base}.toml"
    if not parent.exists():
        raise UserError(f"{path}: base = {base!r} is unknown; {nearest(str(base), names())}")
    if parent in (*seen, path):
        raise UserError(f"{path}: base = {base!r} leads back to itself; break the circle")
    merged = _merged(parent, (*seen, path))
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            if "preset" in value:  # another preset starts afresh
                kept = {k: v for k, v in merged[key].items() if k in ("source", "note")}
                merged[key] = {**kept, **value}
            else:
                merged[key] = {**merged[key], **value}
        elif key == "assumed" and isinstance(value, list):
            # what the base assumes stays assumed, but for the tables that this file fills itself
            base_says: list[str] = merged.get(key, [])
            kept_texts = [text for text in base_says if text.partition(":")[0] not in values]
            merged[key] = [*kept_texts, *(text for text in value if text not in kept_texts)]
        else:
            merged[key] = value
    return merged


_TOP = (
    "schema",
    "title",
    "energy_model",
    "assumed",
    "notes",
    "organisation",
    "timing",
    "pim",
    "energy",
    "host",
)


def checked(path: Path, values: dict[str, Any]) -> Hardware:
    """Return the device that a file's content describes, its base merged in already.

    Raises:
        UserError: all that is wrong with it; `path` says where it stands.
    """
    problems: list[str] = []
    problems.extend(f"{key} is unknown; {nearest(key, _TOP)}" for key in values if key not in _TOP)
    if values.get("schema") != 1:
        problems.append(f"schema = {values.get('schema')!r}; this version reads schema = 1")
    tables: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for name in ("organisation", "timing", "pim", "energy", "host"):
        table = values.get(name, {})
        if not isinstance(table, dict) or (not table and name in ("organisation", "timing", "pim")):
            problems.append(f"[{name}] is missing; every hardware file has one")
            table = {}
        elif table and not table.get("source"):
            problems.append(f"[{name}] has no source; say where its values come from")
        sources[name] = str(table.get("source", ""))
        tables[name] = {k: v for k, v in table.items() if k not in ("source", "note")}
    org_values, problem = _preset(tables["organisation"], organisation_values)
    problems.extend(problem)
    if tables["organisation"] and not problem:
        problems.extend(organisation_problems(org_values))
    timing, problem = _preset(tables["timing"], timing_values)
    problems.extend(problem)
    if tables["timing"] and not problem:
        problems.extend(timing_problems(timing, org_values.get("t_rfc_ns")))
    problems.extend(_pim_problems(tables["pim"]))
    ranks = org_values.get("ranks")
    if tables["pim"].get("level") == "buffer" and isinstance(ranks, int) and ranks & (ranks - 1):
        problems.append(
            f"[organisation] ranks = {ranks}: at level buffer columns go round the banks of all "
            "ranks, and only a power of two of them has addresses of its own"
        )
    problems.extend(_energy_problems(tables["energy"], values.get("energy_model", "activation")))
    problems.extend(_host_problems(tables["host"]))
    problems.extend(_text_problems(values))
    if problems:
        raise UserError(f"{path}: " + "; ".join(problems))
    organisation = build_organisation(org_values)
    return Hardware(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        level=LEVELS[tables["pim"]["level"]],
        organisation=organisation,
        timing=build_timing(timing, organisation.t_rfc_ns),
        energy=EnergyTable(**tables["energy"]),
        energy_model=values.get("energy_model", "activation"),
        sources=sources,
        assumed=tuple(values.get("assumed", ())),
        notes=tuple(values.get("notes", ())),
        refresh=bool(tables["pim"].get("refresh", True)),
        host_flops_per_ns=tables["host"].get("flops_per_ns"),
        host_pj_per_flop=tables["host"].get("pj_per_flop"),
        values=values,
    )


def _preset(table: dict[str, Any], read: Any) -> tuple[dict[str, Any], list[str]]:
    own = {k: v for k, v in table.items() if k != "preset"}
    if "preset" not in table:
        return own, []
    try:
        return {**read(str(table["preset"])), **own}, []
    except UserError as error:
        return own, [str(error)]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _host_problems(table: dict[str, Any]) -> list[str]:
    known = ("flops_per_ns", "pj_per_flop")
    problems = []
    for key, value in table.items():
        if key not in known:
            problems.append(f"[host] {key} is unknown; {nearest(key, known)}")
        elif not _number(value) or value <= 0:
            problems.append(f"[host] {key} = {value!r} must be a number above 0")
    return problems


def _text_problems(values: dict[str, Any]) -> list[str]:
    problems = []
    if not isinstance(values.get("title", ""), str):
        problems.append(f"title = {values['title']!r} must be a text")
    for key in ("assumed", "notes"):
        found = values.get(key, [])
        if not isinstance(found, list) or any(not isinstance(text, str) for text in found):
            problems.append(f"{key} = {found!r} must be a list of texts")
    return problems


def _pim_problems(table: dict[str, Any]) -> list[str]:
    problems = [
        f"[pim] {key} is unknown; {nearest(key, ('level', 'refresh'))}"
        for key in table
        if key not in ("level", "refresh")
    ]
    if table and table.get("level") not in LEVELS:
        problems.append(f"[pim] level = {table.get('level')!r}; known: {', '.join(LEVELS)}")
    return problems


def _energy_problems(table: dict[str, Any], model: object) -> list[str]:
    problems = []
    if model not in ENERGY_MODELS:
        problems.append(f"energy_model = {model!r}; known: {', '.join(ENERGY_MODELS)}")
    known = [f.name for f in fields(EnergyTable)]
    for key, value in table.items():
        if key not in known:
            problems.append(f"[energy] {key} is unknown; {nearest(key, known)}")
        elif not _number(value) or value < 0:
            problems.append(f"[energy] {key} = {value!r} must be a number of at least 0")
        elif value == 0:
            problems.append(f"[energy] {key} = 0: leave an unknown value out, zero means free")
    return problems
