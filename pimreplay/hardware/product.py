"""A device under a mapping of its own, read from its file; what its tables hold, the mapping says.

Every table names its source. Numbers carry their unit in their name and are above 0; a value that
nobody published is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pimreplay.hardware.checks import are_texts, host_problems, text_problems
from pimreplay.hardware.numbers import MOST, is_number, is_whole
from pimreplay.hardware.organisation import MOST_BYTES, MOST_CHANNELS
from pimreplay.hardware.preset_files import refuse
from tracegen.base.errors import nearest

_TEXTS = ("source", "note", "preset")


@dataclass(frozen=True, slots=True)
class Product:
    """One device, checked as far as its mapping does not have to."""

    name: str
    title: str
    mapping: str
    channels: int
    channel_bytes: int
    t_ck_ns: float
    assumed: tuple[str, ...]
    notes: tuple[str, ...]
    timing: Any = None
    """The command set's `Timing`, for a memory that has one."""
    options: tuple[tuple[str, str], ...] = ()
    """What [regions] chooses."""
    energy: tuple[tuple[str, float], ...] = ()
    """Published coefficients; those that are missing are unknown."""
    host_flops_per_ns: float | None = None
    host_pj_per_flop: float | None = None
    energy_model: str = "published"
    values: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Tables:
    """What a mapping's files hold."""

    needed: Mapping[str, Sequence[str]]
    """Numbers that each table must give."""
    known: Mapping[str, Sequence[str]]
    """Numbers that it may give besides."""
    choices: Mapping[str, Sequence[str]]
    """Options of [regions] and what each may be; the first one unless the file says so."""
    own: tuple[str, ...] = ()
    """Tables that the mapping checks itself."""

    def refuse_wrong(self, path: Path, values: dict[str, Any]) -> None:
        """Raise `UserError` with everything that is wrong with a file."""
        refuse(str(path), [*self._above(values), *self._tables(values)])

    def _above(self, values: dict[str, Any]) -> list[str]:
        known = ("schema", "base", "title", "mapping", "assumed", "notes", *self._names)
        problems = [
            f"{key} is unknown; {nearest(key, known)}" for key in values if key not in known
        ]
        if not is_whole(values.get("schema")) or values["schema"] != 1:
            problems.append(f"schema = {values.get('schema')!r}; this version reads schema = 1")
        return problems + text_problems(values)

    @property
    def _names(self) -> tuple[str, ...]:
        regions = ("regions",) if self.choices else ()
        return (*dict.fromkeys((*self.needed, *self.known)), *regions, *self.own, "host")

    def _tables(self, values: dict[str, Any]) -> list[str]:
        problems = []
        for name in self._names:
            table = values.get(name, {})
            if not isinstance(table, dict):
                problems.append(f"{name} = {table!r} must be a table, [{name}]")
                continue
            if not table and (name in self.needed or name in self.own):
                problems.append(f"[{name}] is missing; every file of this mapping has one")
                continue
            if table and not isinstance(table.get("source"), str):
                problems.append(f"[{name}] has no source; say where its values come from")
            if name == "host":
                own = {key: value for key, value in table.items() if key not in _TEXTS}
                problems += host_problems(own)
            elif name == "regions":
                problems += self._chosen(table)
            elif name not in self.own:
                problems += self._numbers(name, table)
        return problems

    def _numbers(self, name: str, table: dict[str, Any]) -> list[str]:
        needed, known = self.needed.get(name, ()), self.known.get(name, ())
        problems = [
            f"[{name}] {key} is missing; every file of this mapping has one"
            for key in needed
            if key not in table
        ]
        for key, value in table.items():
            whole = key == "channels" or key.endswith("_bytes")
            most = MOST_BYTES if key.endswith("_bytes") else MOST
            most = MOST_CHANNELS if key == "channels" else most
            if key in _TEXTS:
                continue
            if key not in (*needed, *known):
                problems.append(f"[{name}] {key} is unknown; {nearest(key, (*needed, *known))}")
            elif not is_number(value) or not 0 < value <= most or (whole and not is_whole(value)):
                kind = "a whole number" if whole else "a number"
                problems.append(
                    f"[{name}] {key} = {value!r} must be {kind} above 0 and at most {most:g}"
                )
        return problems

    def _chosen(self, table: dict[str, Any]) -> list[str]:
        problems = []
        for key, value in table.items():
            if key in _TEXTS:
                continue
            if key not in self.choices:
                problems.append(f"[regions] {key} is unknown; {nearest(key, self.choices)}")
            elif value not in self.choices[key]:
                known = ", ".join(self.choices[key])
                problems.append(f"[regions] {key} = {value!r} is unknown; known: {known}")
        return problems


def product(
    path: Path, values: dict[str, Any], *, t_ck_ns: float, timing: Any = None, where: str
) -> Product:
    """Return the device of a sound file; `where` is the table of its channels and their bytes."""
    assumed, notes = values.get("assumed", []), values.get("notes", [])
    assert are_texts(assumed)
    assert are_texts(notes)
    options = {k: v for k, v in values.get("regions", {}).items() if k not in _TEXTS}
    energy = {k: v for k, v in values.get("energy", {}).items() if k not in _TEXTS}
    host = values.get("host", {})
    return Product(
        name=path.stem,
        title=values.get("title", path.stem),
        mapping=values["mapping"],
        channels=values[where].get("channels", 1),
        channel_bytes=values[where]["channel_bytes"],
        t_ck_ns=t_ck_ns,
        assumed=tuple(assumed),
        notes=tuple(notes),
        timing=timing,
        options=tuple(sorted(options.items())),
        energy=tuple(sorted(energy.items())),
        host_flops_per_ns=host.get("flops_per_ns"),
        host_pj_per_flop=host.get("pj_per_flop"),
        values=values,
    )
