"""Read JSON and TOML strictly: what is wrong with a file is one sentence with the place.

Stricter than the parsers of the standard library: at most 64 MiB and 32 levels, UTF-8 with or
without a byte order mark, one table or object, no key twice, only numbers that are finite and fit
in 64 bits, only text that can be printed and stored.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from tracegen.base.errors import UserError
from tracegen.base.location import local_path

MAX_BYTES = 64 << 20
MAX_LEVELS = 32
_MAX_INTEGER = (1 << 63) - 1
# Control characters, which a terminal obeys, and halves of UTF-16 pairs, which UTF-8 cannot hold.
_UNSTORABLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        UserError: it cannot be read or is not such a file; names the file and the place in it.
    """
    return parse_json(read_bytes(path, "JSON"), str(path))


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the table that a TOML file holds.

    Raises:
        UserError: it cannot be read or is not such a file; names the file and the place in it.
    """
    return parse_toml(read_bytes(path, "TOML"), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the object that the bytes of a JSON file hold; `where` names it in messages.

    Raises:
        UserError: as `read_json`.
    """
    return _parse(data, where, "JSON", _load_json)


def parse_toml(data: bytes, where: str) -> dict[str, Any]:
    """Return the table that the bytes of a TOML file hold; `where` names it in messages.

    Raises:
        UserError: as `read_toml`.
    """
    return _parse(data, where, "TOML", tomllib.loads)


def read_bytes(path: str | Path, kind: str) -> bytes:
    """Return the bytes of a small file; `kind` says in messages what it should be.

    Raises:
        UserError: there is none, it is a folder, too large, or may not be read.
    """
    where = local_path(path)
    try:
        with where.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a {kind} file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of a {kind} file") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the path of a {kind} file"
        ) from None
    return data


def _parse(data: bytes, where: str, kind: str, load: Callable[[str], Any]) -> dict[str, Any]:
    def refuse(reason: str) -> NoReturn:
        raise UserError(f"{where}: not a usable {kind} file: {reason}; correct the file") from None

    if len(data) > MAX_BYTES:
        refuse(f"larger than {MAX_BYTES >> 20} MiB")
    try:
        value = load(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        refuse(f"byte {error.start} is not UTF-8 text")
    except RecursionError:
        refuse(f"nested deeper than {MAX_LEVELS} levels")
    except ValueError as error:
        refuse(str(error))
    if not isinstance(value, dict):
        refuse(f"it holds {_found(value)} and not an object")
    for problem in _problems(value):
        refuse(problem)
    return value


def _load_json(text: str) -> Any:
    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a number that JSON knows")

    return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=constant)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice")
        found[key] = value
    return found


def _problems(value: Any) -> Iterator[str]:
    """Yield what no reader of ours can use, with its place; without recursion, however deep."""
    waiting: list[tuple[str, int, Any]] = [("", 0, value)]
    while waiting:
        place, level, one = waiting.pop()
        if level > MAX_LEVELS:
            yield f"nested deeper than {MAX_LEVELS} levels"
            return
        if isinstance(one, dict):
            waiting += [(f"{place}.{key}".lstrip("."), level + 1, of) for key, of in one.items()]
            yield from (f"key {key!r} holds text that cannot be stored" for key in one if _bad(key))
        elif isinstance(one, list):
            waiting += [(f"{place}[{index}]", level + 1, of) for index, of in enumerate(one)]
        elif isinstance(one, str) and _bad(one):
            yield f"{place} holds text that cannot be stored"
        elif isinstance(one, int) and not -_MAX_INTEGER <= one <= _MAX_INTEGER:
            yield f"{place} is a number beyond 64 bits"
        elif isinstance(one, float) and not abs(one) < float("inf"):
            yield f"{place} is {one}, not a finite number"


def _bad(text: str) -> bool:
    return _UNSTORABLE.search(text) is not None


def _found(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"
