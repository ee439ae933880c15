"""What makes a hardware file wrong, table by table; timing and organisation check themselves.

Each check returns one sentence a problem and none where all is sound.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeGuard

from pimreplay.hardware.device import ENERGY_MODELS, EnergyTable
from pimreplay.hardware.levels import LEVELS
from pimreplay.hardware.numbers import MOST, is_number, is_whole
from tracegen.base.errors import nearest

TABLES = ("organisation", "timing", "pim", "energy", "host")
NEEDED = TABLES[:3]
TEXTS = ("title", "mapping", "energy_model")
LISTS = ("assumed", "notes")


def are_texts(value: object) -> TypeGuard[list[str]]:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def table_problems(values: dict[str, Any]) -> list[str]:
    """Check the schema, that keys are known, and that each table is there and says its source."""
    problems = _unknown("", values, ("schema", "base", *TEXTS, *LISTS, *TABLES))
    schema = values.get("schema")
    if not is_whole(schema) or schema != 1:
        problems.append(f"schema = {schema!r}; this version reads schema = 1")
    for name in TABLES:
        table = values.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name} = {table!r} must be a table, [{name}]")
        elif not table and name in NEEDED:
            problems.append(f"[{name}] is missing; every hardware file has one")
        elif table and not table.get("source"):
            problems.append(f"[{name}] has no source; say where its values come from")
        else:
            problems += [
                f"[{name}] {key} = {table[key]!r} must be a text"
                for key in ("source", "note", "preset")
                if not isinstance(table.get(key, ""), str)
            ]
    return problems


def text_problems(values: dict[str, Any]) -> list[str]:
    """Check the texts and lists of texts that stand above the tables."""
    problems = []
    for key in TEXTS:
        if not isinstance(values.get(key, ""), str):
            problems.append(f"{key} = {values[key]!r} must be a text")
    for key in LISTS:
        found = values.get(key, [])
        if not are_texts(found):
            problems.append(f"{key} = {found!r} must be a list of texts")
    return problems


def pim_problems(table: dict[str, Any]) -> list[str]:
    """Check [pim]."""
    problems = _unknown("[pim] ", table, ("level", "refresh"))
    if table.get("level") not in tuple(LEVELS):
        found = f"= {table['level']!r}" if "level" in table else "is missing"
        problems.append(f"[pim] level {found}; known: {', '.join(LEVELS)}")
    if not isinstance(table.get("refresh", True), bool):
        problems.append(f"[pim] refresh = {table['refresh']!r} must be true or false")
    return problems


def energy_problems(table: dict[str, Any], model: object) -> list[str]:
    """Check [energy] and the model that it is for."""
    problems = []
    if model not in ENERGY_MODELS:
        problems.append(f"energy_model = {model!r}; known: {', '.join(ENERGY_MODELS)}")
    known = [f.name for f in fields(EnergyTable)]
    problems += _unknown("[energy] ", table, known)
    for key, value in table.items():
        if key not in known:
            continue
        if not is_number(value) or not 0 <= value <= MOST:
            problems.append(f"[energy] {key} = {value!r} must be a number from 0 to {MOST:g}")
        elif value == 0:
            problems.append(f"[energy] {key} = 0: leave an unknown value out, zero means free")
    return problems


def host_problems(table: dict[str, Any]) -> list[str]:
    """Check [host]."""
    known = ("flops_per_ns", "pj_per_flop")
    problems = _unknown("[host] ", table, known)
    for key in known:
        value = table.get(key, 1)
        if not is_number(value) or not 0 < value <= MOST:
            problems.append(
                f"[host] {key} = {value!r} must be a number above 0 and at most {MOST:g}"
            )
    return problems


def _unknown(table: str, values: dict[str, Any], known: Iterable[str]) -> list[str]:
    return [f"{table}{key} is unknown; {nearest(key, known)}" for key in values if key not in known]
