"""Mappings: how a KV head lies in a device, and what its attention becomes there. One file each.

A mapping is a frozen dataclass with the methods of `pimreplay.cost.mapping.Mapping`; a device file
names its mapping (`mapping = "aim"`; AttAcc's unless it does) and holds what that one asks for.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.cost.mapping import Mapping
from pimreplay.cost.selfcheck import Check
from pimreplay.hardware import reading
from pimreplay.hardware.device import Device
from pimreplay.variants import variant
from tracegen.base.discover import names
from tracegen.base.errors import UserError, nearest


def load(name_or_path: str | Path) -> Device:
    """Load a shipped device by name, or any by its file.

    Raises:
        UserError: an unknown device or mapping, or everything that is wrong with the file.
    """
    return device_of(*reading.content(name_or_path))


def device_of(path: Path, values: dict[str, Any]) -> Device:
    """Return the device that a file's content describes; `path` says where it stands."""
    return _class(values.get("mapping", "attacc"), str(path)).read_device(path, values)


def mapping_of(device: Device, head_dim: int, kv_bits: int = 16) -> Mapping:
    """Return where a KV head lies in a device.

    Raises:
        UserError: the device cannot hold heads of this size or elements of this width.
    """
    return _class(device.mapping, device.name)(device, head_dim, kv_bits)


def check(device: Device) -> list[Check]:
    """Check that a device does what its numbers promise."""
    return _class(device.mapping, device.name).check(device)


def _class(name: object, where: str) -> type[Mapping]:
    package = sys.modules[__name__]
    known = names(package)
    if name not in known:
        raise UserError(f"{where}: mapping = {name!r} is unknown; {nearest(str(name), known)}")
    found: type[Mapping] = variant(package, str(name))
    return found


def attention(
    device_name: str, *, head_dim: int, heads: int, tokens: int, read: Path | None, refresh: bool
) -> dict[str, Any]:
    """Return what attention of one decode step takes on a device, as one JSON object.

    Args:
        device_name: Name of a device with a mapping of its own, or its file.
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
    device = load(device_name)
    mapping = mapping_of(device, head_dim)
    positions = None if read is None else _positions(read, tokens)
    found = mapping.attention(tokens, positions, refresh=refresh)
    rounds = -(-heads // device.channels)
    cycles = rounds * sum(found["phases"].values())
    return {
        "hardware": device.name,
        "title": device.title,
        "mapping": device.mapping,
        "head_dim": head_dim,
        "heads": heads,
        "tokens": tokens,
        "read_tokens": tokens if positions is None else len(positions),
        "cycles": cycles,
        "time_ns": cycles * device.t_ck_ns,
        "rounds": rounds,
        **found,
        "energy_pj": None,
        "assumed": list(device.assumed),
    }


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
