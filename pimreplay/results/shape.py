"""What `run.json` must hold: checked once, when a folder is opened; readers rely on it."""

from collections.abc import Iterator
from typing import Any

SHAPE = {
    "traces": [
        {
            "name": str,
            "path": str,
            "hash": str,
            "prompts?": str,
            "kind": str,
            "model": str,
            "layers": [int],
            "kv_heads": int,
            "decode_steps": int,
        }
    ],
    "configuration": {
        "policies": [{"policy": str, "parameters": str, "layout": str}],
        "budgets": [str],
        "hardware": [str],
        "dense_layers": int,
        "fidelity": str,
        "layers": ([int], None),
        "seed": int,
    },
    "hardware": [
        {
            "name": str,
            "assumed": [str],
            "values": dict,
            "geometry": {str: {"block_tokens": int, "key_blocks_per_row": int}},
        }
    ],
    "versions": dict,
    "budget_schedules?": [{"name": str, "layers": {str: [int]}}],
}
SEALED_SHAPE = {
    **SHAPE,
    "tables": {str: {"rows": int, "sha256": str}},
}
"""Keys that a reader relies on; further ones are allowed.

A key that ends with a question mark may be missing. A list holds the shape of its entries, a tuple
alternatives, a dictionary keys of its own (`str`: keys of any name); `int` is a whole number of at
least 0.
"""

_WORDS = {int: "a whole number", str: "text", dict: "an object", None: "null"}


def problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the content of `run.json`, each as a sentence with its place."""
    yield from _problems(config, SEALED_SHAPE if config["schema_version"] >= 2 else SHAPE, "")


def _problems(value: Any, shape: Any, place: str) -> Iterator[str]:
    if isinstance(shape, tuple):
        options = [list(_problems(value, one, place)) for one in shape]
        if all(options):
            yield options[0][0]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place} is not a list"
            return
        for number, one in enumerate(value):
            yield from _problems(one, shape[0], f"{place}[{number}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{place} is not an object"
            return
        if str in shape:
            shape = dict.fromkeys(value, shape[str])
        for named, inner in shape.items():
            key = named.removesuffix("?")
            where = f"{place}.{key}".lstrip(".")
            if key in value:
                yield from _problems(value[key], inner, where)
            elif key == named:
                yield f"{where} is missing"
    elif not _is(value, shape):
        yield f"{place} is not {_WORDS[shape]}"


def _is(value: Any, shape: Any) -> bool:
    if shape is None:
        return value is None
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, shape)
