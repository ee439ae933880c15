"""What two runs recorded differently: one line a setting, one a group of a device's values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_VOLATILE = ("configuration_sha256",)
_REPEATED = (".values.title", ".values.assumed")
"""Entries that stand elsewhere in `run.json` too."""

_WORDS = ("title", "assumed", "notes", "source", "base", "schema")
"""Entries of a hardware file that describe its values and are none."""

_GROUPED = ("hardware.", "traces.", "versions")
"""Beginnings of entries whose differing values stand together in one line an object."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry of `run.json` that is not the same; None where one side lacks it."""

    entry: str
    before: str | None
    after: str | None


def differences(before: Any, after: Any) -> Iterator[Difference]:
    """Yield what differs between two `run.json`, devices of the same values taken as one."""
    yield from _between(before, renamed(after, same_devices(before, after)), "")


def same_devices(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """Return the names of devices of `after` that have the values of another name in `before`."""
    known = {str(one.get("name")): _values(one) for one in before.get("hardware", [])}
    found = {}
    for one in after.get("hardware", []):
        name, values = str(one.get("name")), _values(one)
        same = [other for other, own in known.items() if own == values]
        if name not in known and values and same:
            found[name] = same[0]
    return found


def renamed(config: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a `run.json` with devices called by their other names."""
    devices = [
        one | {"name": names.get(str(one.get("name")), one.get("name"))}
        for one in config.get("hardware", [])
    ]
    return config | {"hardware": devices}


def _values(device: dict[str, Any]) -> Any:
    def numbers(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: numbers(inner) for key, inner in value.items() if key not in _WORDS}

    return numbers(device.get("values"))


def _between(left: Any, right: Any, entry: str) -> Iterator[Difference]:
    if _is_named(left) and _is_named(right):
        yield from _between_named(left, right, entry)
    elif isinstance(left, dict) and isinstance(right, dict):
        yield from _between_objects(left, right, entry)
    elif left != right:
        yield Difference(entry, _text(left), _text(right))


def _between_named(left: list[Any], right: list[Any], entry: str) -> Iterator[Difference]:
    """Compare lists of objects with names, in which the order makes no difference."""
    if len(left) == len(right) == 1:
        yield from _between(left[0], right[0], entry)
        return
    one, other = ({_name(value): value for value in side} for side in (left, right))
    alone = (
        [name for name in one if name not in other],
        [name for name in other if name not in one],
    )
    if any(alone):
        yield Difference(f"{entry} (in one only)", *(", ".join(names) or None for names in alone))
    for name in (name for name in one if name in other):
        yield from _between(one[name], other[name], f"{entry}.{name}")


def _between_objects(
    left: dict[str, Any], right: dict[str, Any], entry: str
) -> Iterator[Difference]:
    own: dict[str, tuple[Any, Any]] = {}
    inside: list[tuple[Any, Any, str]] = []
    for key in [*left, *(key for key in right if key not in left)]:
        inner = f"{entry}.{key}" if entry else str(key)
        one, other = left.get(key), right.get(key)
        if key in _VOLATILE or inner.endswith(_REPEATED) or one == other:
            continue
        nested = isinstance(one, dict) and isinstance(other, dict)
        if nested or (_is_named(one) and _is_named(other)):
            inside.append((one, other, inner))
        else:
            own[key] = one, other
    if len(own) > 1 and f"{entry}.".startswith(_GROUPED):
        yield Difference(entry, *(_listed(own, side) for side in (0, 1)))
    else:
        for key, (one, other) in own.items():
            yield Difference(f"{entry}.{key}" if entry else str(key), _text(one), _text(other))
    for pair in inside:
        yield from _between(*pair)


def _listed(values: dict[str, tuple[Any, Any]], side: int) -> str:
    return ", ".join(
        f"{key} {_text(pair[side])}" for key, pair in values.items() if pair[side] is not None
    )


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and _name(one) for one in value)
    )


def _name(value: dict[str, Any]) -> str:
    if "policy" not in value:
        return str(value.get("name", ""))
    parameters = f":{value['parameters']}" if value.get("parameters") else ""
    return f"{value['policy']}{parameters}@{value.get('layout')}"


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(str(_text(one)) for one in value) or "none"
    return str(value)
