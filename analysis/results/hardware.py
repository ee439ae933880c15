"""What a results folder says of its hardware: flagged assumptions, the parameter that varies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimreplay.results.reader import Results
from tracegen.base.errors import UserError

if TYPE_CHECKING:
    from pimreplay.cost.mapping import Mapping


@dataclass(frozen=True, slots=True)
class Varied:
    """A numeric hardware parameter that differs between devices."""

    name: str
    unit: str
    values: dict[str, float]
    """By hardware name."""


def hardware_of(runs: Sequence[Results]) -> dict[str, dict[str, Any]]:
    """Return the hardware files that the runs recorded, by name."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for one in run.config.get("hardware", []):
            if isinstance(one, dict):
                found[str(one.get("name"))] = one
    return found


def assumed_of(runs: Sequence[Results]) -> dict[str, list[str]]:
    """Return the values that hardware files flag as assumed, by hardware name."""
    return {
        name: [str(one) for one in recorded.get("assumed", [])]
        for name, recorded in hardware_of(runs).items()
    }


def mapping_in(run: Results, hardware: str, trace: str, layer: int | None = None) -> "Mapping":
    """Return where tokens of a layer lie on a device as the run recorded it; None: of the first.

    The device's file may have been anywhere, and may have changed since.

    Raises:
        UserError: the run did not record it.
    """
    from pimreplay.mappings import device_of, mapping_of

    values = hardware_of([run]).get(hardware, {}).get("values")
    if not isinstance(values, dict):
        raise UserError(
            f"{run.path}/run.json: records no values of {hardware}; replay again to see single"
            " steps"
        )
    kv_bits = int(run.config.get("configuration", {}).get("kv_bits", 16))
    recorded = next(one for one in run.config["traces"] if one["name"] == trace)
    sizes = recorded["head_dim"]  # one for all layers, or one a layer
    if isinstance(sizes, list):
        sizes = dict(zip(recorded["layers"], sizes, strict=True)).get(layer, sizes[0])
    return mapping_of(device_of(Path(f"{hardware}.toml"), values), int(sizes), kv_bits)


NO_CAUSE = ("capacity_bytes",)
"""Numbers that change no cost: devices that differ in them alone are not a sweep over them."""


def varied_parameter(runs: Sequence[Results], machines: Sequence[str]) -> Varied | None:
    """Return the one number that differs between devices; None unless exactly one does."""
    recorded = hardware_of(runs)
    if any(name not in recorded for name in machines):
        return None
    numbers = {name: dict(_numbers(recorded[name].get("values", {}))) for name in machines}
    shared = set.intersection(*(set(one) for one in numbers.values()))
    differing = [
        key
        for key in sorted(shared)
        if len({numbers[name][key] for name in machines}) > 1 and not key.endswith(NO_CAUSE)
    ]
    if len(differing) != 1:
        return None
    key = differing[0]
    return Varied(key, _unit(key), {name: numbers[name][key] for name in machines})


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


_UNITS = {
    "_pj": "pJ",
    "_ns": "ns",
    "_cycles": "cycles",
    "_bytes": "bytes",
    "_pj_per_bit": "pJ/bit",
    "_pj_per_element": "pJ/element",
    "_pj_per_flop": "pJ/flop",
    "_mw_per_channel": "mW/channel",
    "_flops_per_ns": "flop/ns",
    "_ratio": "ratio",
    "_tokens": "tokens",
}


def _unit(key: str) -> str:
    endings = [ending for ending in _UNITS if key.endswith(ending)]
    return _UNITS[max(endings, key=len)] if endings else "value in the hardware file"
