"""Load a variant (a policy, a layout) from `NAME[:param=value,...]`.

A variant is a file of a package; its one public class is a frozen dataclass whose fields are the
parameters. Nothing is registered anywhere.
"""

import dataclasses
import types
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tracegen.base.discover import names, variant_class
from tracegen.base.errors import UserError, nearest
from tracegen.base.pairs import parse_pairs


def load_variant(package: ModuleType, kind: str, text: str) -> Any:
    """Build the variant that `text` names, its parameters checked by their types.

    Args:
        package: Package whose files are the variants.
        kind: What they are called in messages, for example `policy`.
        text: `NAME` or `NAME:param=value,param=value`.

    Raises:
        UserError: an unknown name or parameter (with the known ones and the nearest), a value
            of the wrong type, or one that the variant itself refuses.
    """
    name, _, rest = text.strip().partition(":")
    name = name.strip()
    known = names(package)
    if name not in known:
        raise UserError(f"{kind} {name!r}: unknown; {nearest(name, known)}")
    where = f"{kind} {name}"
    return build_variant(variant(package, name), where, parse_pairs(where, rest))


def variant(package: ModuleType, name: str) -> type:
    """Return the class of one variant; only its own file is imported."""
    path = f"{package.__name__}.{name}"
    try:
        module = import_module(path)
    except Exception as error:
        raise ImportError(f"{path}: {type(error).__name__}: {error}") from error
    return variant_class(module)


def build_variant(cls: type, where: str, values: dict[str, str]) -> Any:
    """Build `cls` from parameters given as text."""
    hints = get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]
    typed = {}
    for key, value in values.items():
        if key not in fields:
            raise UserError(f"{where}: unknown parameter {key!r}; {nearest(key, fields)}")
        typed[key] = _typed(f"{where}: {key}", hints[key], value)
    return cls(**typed)


def _typed(where: str, hint: Any, text: str) -> object:
    if get_origin(hint) in (types.UnionType, Union):
        choices = get_args(hint)
        if text.lower() == "none" and type(None) in choices:
            return None
        hint = next(one for one in choices if one is not type(None))
    if get_origin(hint) is Literal:
        known = [str(one) for one in get_args(hint)]
        if text not in known:
            raise UserError(f"{where}={text}: unknown value; {nearest(text, known)}")
        return get_args(hint)[known.index(text)]
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{where}={text}: give true or false")
        return text.lower() == "true"
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            wanted = "a whole number" if hint is int else "a number"
            raise UserError(f"{where}={text}: give {wanted}") from None
    return text


def at_least(instance: object, **minimums: float) -> None:
    """Refuse fields of a variant below their minimum; for `__post_init__`.

    Raises:
        UserError: naming the class's file, the field, the value and the minimum.
    """
    name = type(instance).__module__.rpartition(".")[2]
    for field, minimum in minimums.items():
        value = getattr(instance, field)
        if value is not None and not value >= minimum:
            raise UserError(f"{name}: {field}={value} is too small; give at least {minimum:g}")


MOST_ITERATIONS = 10_000
"""Far beyond what any published clustering needs, and still an end."""


def at_most(instance: object, **maximums: float) -> None:
    """Refuse fields of a variant above their maximum; for `__post_init__`.

    Raises:
        UserError: naming the class's file, the field, the value and the maximum.
    """
    name = type(instance).__module__.rpartition(".")[2]
    for field, maximum in maximums.items():
        value = getattr(instance, field)
        if value is not None and not value <= maximum:
            raise UserError(f"{name}: {field}={value} is too large; give at most {maximum:g}")
