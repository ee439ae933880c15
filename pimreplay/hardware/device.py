"""Hardware configurations: one TOML file each, values with their unit and their source.

A file's stem is its name. `[organisation]` and `[timing]` take a preset and overrides, `[pim]`
says where the MAC units are, `[energy]` the coefficients; `base` starts from another file.
Values nobody measured are listed under `assumed` and stay visible in every result.
"""

from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from pimreplay.hardware.timing import (
    Organisation,
    Timing,
    build_organisation,
    build_timing,
    organisation_problems,
    organisation_values,
    read_toml,
    timing_problems,
    timing_values,
)
from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent
LEVELS = ("bank", "bg", "buffer")
ENERGY_MODELS = ("activation", "attacc")


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Energy coefficients; None says that nobody published the value.

    Distances are those of the DRAM path: cell, column decoder to bank-group multiplexer,
    bank-group multiplexer to global I/O multiplexer, through-silicon via, interposer.
    """

    activation_pj: float | None = None
    """Activate and precharge one row of one bank."""
    cell_pj_per_bit: float | None = None
    """Read or write the row buffer."""
    bank_group_pj_per_bit: float | None = None
    """Column decoder to bank-group multiplexer."""
    global_io_pj_per_bit: float | None = None
    """Bank-group multiplexer to global I/O multiplexer."""
    tsv_pj_per_bit: float | None = None
    interposer_pj_per_bit: float | None = None
    mac_pj: float | None = None
    """One multiply-accumulate."""
    softmax_pj_per_element: float | None = None
    background_mw_per_channel: float | None = None
    """Active standby power."""
    refresh_mw_per_channel: float | None = None
    """Refresh power above standby, averaged over the refresh interval."""
    external_link_pj_per_bit: float | None = None
    """Stack to host, for work a policy does on the host."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the tokens of one KV head lie in a channel, for one head_dim and element size.

    A *block* is the tokens of one access step: a lane each. Keys of consecutive blocks fill a
    row; values are cut in slices of head_dim, each slice in a region of its own.
    """

    block_tokens: int
    """Tokens of a block, one a lane."""
    key_columns: int
    """MAC commands that read the keys of one block, once."""
    key_blocks_per_row: int
    value_slices: int
    """MAC commands that read the values of one block, once; each in another region."""
    value_blocks_per_row: int
    """Blocks of one value slice in a row."""
    interleaved_banks: int
    """Banks that consecutive columns go round before the next column of a row (buffer level)."""
    parallel_banks: int
    """Banks that one activation command opens and one MAC command reads."""
    query_writes: int
    """PIM_WR_GB commands for one query head's query."""
    lane_words: int
    """Elements of one column access."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One hardware configuration, checked."""

    name: str
    title: str
    level: str
    organisation: Organisation
    timing: Timing
    energy: EnergyTable
    energy_model: str
    sources: dict[str, str]
    assumed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refresh: bool = True
    host_flops_per_ns: float | None = None
    """Sustained host arithmetic for clustering, flops per ns."""
    host_pj_per_flop: float | None = None
    values: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    """The merged content of the file, for records of a run."""

    def geometry(self, head_dim: int, element_bytes: int) -> Geometry:
        """Return where tokens of `head_dim` elements of `element_bytes` bytes lie."""
        return geometry(self, head_dim, element_bytes)

    @property
    def t_ck_ns(self) -> float:
        """Command clock period, ns."""
        return self.timing.t_ck_ps / 1000.0


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
    return _checked(path, values)


def geometry(hardware: Hardware, head_dim: int, element_bytes: int) -> Geometry:
    """Return where the tokens of one KV head lie; `UserError` when they cannot.

    `bank`: a vector is split over the banks of its lane (bank group). `bg`: it lies in one
    bank of the lane at a time. `buffer`: a lane is a pseudo-channel, read bank by bank.
    Source: scale-snu/attacc_simulator @ c600051, trace_gen.
    """
    org = hardware.organisation
    where = f"{hardware.name}, head_dim {head_dim}, {element_bytes} bytes per element"
    if element_bytes not in (1, 2, 4):
        raise UserError(f"{where}: an element has 1, 2 or 4 bytes; choose one of them")
    if head_dim < 1:
        raise UserError(f"{where}: head_dim must be at least 1")
    words = org.access_bytes // element_bytes
    split = org.banks if hardware.level == "bank" else 1
    columns = -(-head_dim // (split * words))
    if columns > org.columns:
        raise UserError(
            f"{where}: one token needs {columns} columns of a row that has {org.columns}; "
            "use a smaller head_dim or element"
        )
    return Geometry(
        block_tokens=org.pseudo_channels if hardware.level == "buffer" else org.lanes,
        key_columns=columns,
        key_blocks_per_row=org.columns // columns,
        value_slices=columns,
        value_blocks_per_row=org.columns,
        interleaved_banks=(
            org.ranks * org.bank_groups * org.banks if hardware.level == "buffer" else 1
        ),
        parallel_banks={
            "bank": org.channel_banks,
            "bg": org.lanes,
            "buffer": org.pseudo_channels,
        }[hardware.level],
        query_writes=columns * (org.banks if hardware.level == "bank" else 1),
        lane_words=words,
    )


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


def _checked(path: Path, values: dict[str, Any]) -> Hardware:
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
        level=tables["pim"]["level"],
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
