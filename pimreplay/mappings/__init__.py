"""Mappings: how a KV head lies in a memory that can be bought, and what its attention requests.

A file is a mapping; a `.toml` file here is a device that uses one. Keys and values have regions of
their own: what a *block* is (the tokens that one access reads) differs between them. A mapping has
`OPTIONS` (what a device file chooses) and `attention(tokens, read, head_dim, timing, **options)`.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.command_sets import load
from pimreplay.command_sets import load_timing as timing_of
from pimreplay.hardware.preset_files import refuse
from pimreplay.units import cycles_to_ns
from tracegen.base.discover import names
from tracegen.base.documents import read_toml
from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent
_KEYS = ("title", "mapping", "source", "channels", "assumed", "timing")


def devices() -> list[str]:
    """Return the names of the devices that have a mapping here."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def attention(
    device: str, *, head_dim: int, heads: int, tokens: int, read: Path | None, refresh: bool = True
) -> dict[str, Any]:
    """Return what attention of one decode step takes on a device, as one JSON object.

    Args:
        device: Name of a device of `devices()`, or a .toml file of its form.
        head_dim: Elements of a key.
        heads: KV heads, one query head each; each lies alone in a channel, those beyond the
            channels wait their turn.
        tokens: Tokens in the cache.
        read: File of the positions that are read; None for all.
        refresh: Whether the memory refreshes, where its controller does.

    Raises:
        UserError: a wrong device or request.
    """
    for option, value in (("head-dim", head_dim), ("heads", heads), ("tokens", tokens)):
        if value < 1:
            raise UserError(f"--{option} {value}: must be at least 1")
    values = _device(device)
    mapping = import_module(f"{__name__}.{values['mapping']}")
    command_set = load(values["mapping"])
    timing = timing_of(values["mapping"], str(values["path"]))
    options = {name: values[name] for name in mapping.OPTIONS if name in values}
    if command_set.REFRESHES:
        options["refresh"] = refresh
    elif not refresh:
        raise UserError(f"{device}: never refreshes; leave out --no-refresh")
    positions = None if read is None else _positions(read, tokens)
    found = mapping.attention(tokens, positions, head_dim, timing, **options)
    rounds = -(-heads // values["channels"])
    cycles = rounds * sum(found["phases"].values())
    return {
        "hardware": values["name"],
        "title": values["title"],
        "mapping": values["mapping"],
        "head_dim": head_dim,
        "heads": heads,
        "tokens": tokens,
        "read_tokens": tokens if positions is None else len(positions),
        "cycles": cycles,
        "time_ns": cycles_to_ns(cycles, timing.t_ck_ps),
        "rounds": rounds,
        **found,
        "energy_pj": None,
        "source": values["source"],
        "assumed": values["assumed"],
    }


def is_device(name: str) -> bool:
    """Tell whether a name or a .toml file is a device with a mapping of its own."""
    path = Path(name)
    return name in devices() or (
        path.suffix == ".toml" and path.is_file() and "mapping" in read_toml(path)
    )


def _device(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.toml" if name in devices() else Path(name)
    values = read_toml(path)
    problems = [
        f"{key} is missing; every device file has one" for key in _KEYS if key not in values
    ]
    known = names(sys.modules[__name__])
    if "mapping" in values and values["mapping"] not in known:
        problems.append(
            f"mapping = {values['mapping']!r} is unknown; {nearest(str(values['mapping']), known)}"
        )
    channels = values.get("channels", 1)
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        problems.append(f"channels = {channels!r} must be a whole number above 0")
    refuse(str(path), problems)
    options = import_module(f"{__name__}.{values['mapping']}").OPTIONS
    for key, value in values.items():
        if key in options and value not in options[key]:
            problems.append(f"{key} = {value!r} is unknown; known: {', '.join(options[key])}")
        elif key not in options and key not in _KEYS:
            problems.append(f"{key} is unknown; {nearest(key, [*_KEYS, *options])}")
    refuse(str(path), problems)
    return {**values, "name": path.stem, "path": path}


def _positions(path: Path, tokens: int) -> Any:
    """Return the positions in a file: whole numbers between white space or commas, ascending."""
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; give a text file of positions") from None
    found = set()
    for word in words:
        if not word.isdecimal() or int(word) >= tokens:
            raise UserError(f"{path}: {word!r} is not a position; the cache has 0 to {tokens - 1}")
        found.add(int(word))
    if not found:
        raise UserError(f"{path}: has no positions; name at least one token that is read")
    return np.array(sorted(found), dtype=np.int64)
