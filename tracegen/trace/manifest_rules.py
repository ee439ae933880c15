"""What the values of a manifest must be, before a trace is written and when it is opened."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from tracegen.base.documents import parse_json
from tracegen.base.errors import UserError
from tracegen.trace.schema import (
    ITEM_BYTES,
    KINDS,
    MOST_HEADS,
    MOST_LAYERS,
    MOST_TOKENS,
    SCHEMA_VERSION,
    FileEntry,
    Manifest,
)


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read `manifest.json`.

    Raises:
        UserError: not JSON, a newer schema, or fields missing, unknown or of a wrong type or value;
            all problems are in one message that starts with `where`.
    """
    raw = parse_json(data, where)
    version = raw.get("schema_version")
    if not _whole(version, 1):
        raise UserError(
            f"{where}: schema_version is {version!r}, expected a whole number from 1 to "
            f"{SCHEMA_VERSION}; this is not the manifest of a trace"
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{where}: trace schema {version} is newer than {SCHEMA_VERSION}, the newest that this "
            "version reads; update the program or capture the trace again"
        )
    known = {one.name: one for one in dataclasses.fields(Manifest)}
    unknown = sorted(set(raw) - set(known))
    missing = sorted(
        name
        for name, one in known.items()
        if name not in raw
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
    )
    if unknown or missing:
        raise UserError(
            f"{where}: fields missing: {', '.join(missing) or 'none'}; unknown fields: "
            f"{', '.join(unknown) or 'none'}; capture the trace again"
        )
    problems = [
        f"{name} is {shown(raw[name])}, expected a list"
        for name in (*_LISTS, "files")
        if not isinstance(raw.get(name, []), list)
    ]
    if not problems:
        manifest = _build(raw)
        problems = check(manifest) or _version_problems(manifest) or _file_problems(manifest)
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}; capture the trace again")
    return manifest


def _build(raw: dict[str, Any]) -> Manifest:
    """Return the manifest as it was written; `check` sees what is wrong with its values."""
    values = dict(raw)
    head_dim = raw["head_dim"]  # one number stands for all layers
    values["head_dim"] = head_dim if isinstance(head_dim, list) else [head_dim] * len(raw["layers"])
    for name in ("head_dim", *_LISTS):
        values[name] = tuple(
            tuple(one) if isinstance(one, list) else one for one in values.get(name, ())
        )
    values["files"] = tuple(
        FileEntry(one.get("path"), one.get("size_bytes"), one.get("sha256"))  # type: ignore[arg-type]
        if isinstance(one, dict)
        else one
        for one in raw.get("files", ())
    )
    return Manifest(**values)


def _whole(value: Any, least: int = 0, most: int = (1 << 63) - 1) -> TypeGuard[int]:
    return type(value) is int and least <= value <= most


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _named(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _storable(value: Any) -> bool:
    """Whether JSON can hold an object, and the strict reader would take it back."""
    if not isinstance(value, Mapping):
        return False
    try:
        parse_json(json.dumps(dict(value)).encode(), "")
    except (TypeError, ValueError, UserError):
        return False
    return True


def _each(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: all(map(holds, values))


def _or_null(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


_SIZE = (lambda value: _whole(value, 1, MOST_HEADS), f"a whole number from 1 to {MOST_HEADS:,}")
_COUNT = (lambda value: _whole(value, 1, MOST_TOKENS), f"a whole number from 1 to {MOST_TOKENS:,}")
_FLAG = (lambda value: isinstance(value, bool), "true or false")
_OBJECT = (_storable, "an object of plain values")
_LISTS = ("layers", "softmax_scale", "sliding_window", "kv_layer", "sink_logit")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "dtype": (lambda value: value in tuple(ITEM_BYTES), f"one of {', '.join(ITEM_BYTES)}"),
    "model": (_named, "a name"),
    "architecture": (_or_null(_named), "null or a name"),
    "model_sha256": (_or_null(_named), "null or a SHA-256"),
    "q_heads": _SIZE,
    "kv_heads": _SIZE,
    "head_dim": (_each(_SIZE[0]), _SIZE[1]),
    "prompt_tokens": _COUNT,
    "decode_steps": _COUNT,
    "prompt_queries": (lambda value: _whole(value, 0, MOST_TOKENS), "a whole number"),
    "soft_cap": (_or_null(_positive), "null or a number above 0"),
    "layers": (
        lambda value: 0 < len(value) <= MOST_LAYERS and all(map(_whole, value)),
        f"1 to {MOST_LAYERS:,} layer numbers from 0",
    ),
    "softmax_scale": (_each(_positive), "numbers above 0"),
    "sliding_window": (_each(_or_null(lambda value: _whole(value, 1))), "null or from 1"),
    "kv_layer": (_each(_whole), "layer numbers from 0"),
    "sink_logit": (
        _each(lambda values: isinstance(values, tuple) and all(map(_finite, values))),
        "a list of finite numbers a layer",
    ),
    "has_output": _FLAG,
    "has_prompt_attention": _FLAG,
    "teacher_forced": _FLAG,
    "rope": _OBJECT,
    "prompt": _OBJECT,
    "versions": _OBJECT,
}


def check(manifest: Manifest) -> list[str]:
    """Return what is wrong with a manifest's own values, in words; empty if nothing is.

    The one place where types and values of a trace are checked: before it is written and when it
    is opened.
    """
    problems = _field_problems(manifest)
    if problems:  # what follows compares fields that are sound in themselves
        return problems
    if manifest.q_heads % manifest.kv_heads:
        problems.append(
            f"q_heads = {manifest.q_heads} is not a multiple of kv_heads = {manifest.kv_heads}"
        )
    n_layers = len(manifest.layers)
    if len(set(manifest.layers)) != n_layers:
        problems.append(f"layers {shown(list(manifest.layers))} repeats a layer")
    for name in ("softmax_scale", "sliding_window", "head_dim", "kv_layer", "sink_logit"):
        given = getattr(manifest, name)
        if len(given) != n_layers and not (name in ("kv_layer", "sink_logit") and not given):
            problems.append(f"{name} has {len(given)} values for {n_layers} layers")
    if any(len(one) != manifest.q_heads for one in manifest.sink_logit):
        problems.append(f"sink_logit is not one number for each of {manifest.q_heads} query heads")
    if not problems:
        problems += _sharing_problems(manifest)
    if manifest.prompt_queries > manifest.prompt_tokens:
        problems.append(
            f"prompt_queries = {manifest.prompt_queries} of {manifest.prompt_tokens} prompt tokens"
        )
    return problems


def _sharing_problems(manifest: Manifest) -> list[str]:
    """Return which layers read keys and values of a layer that cannot be theirs."""
    own = set(manifest.kv_layers)
    return [
        f"kv_layer: layer {layer} reads the keys and values of layer {owner}, which has none of "
        "its own of that size here"
        for layer, owner in zip(manifest.layers, manifest.kv_layer, strict=bool(manifest.kv_layer))
        if owner not in own or manifest.head_dim_of(owner) != manifest.head_dim_of(layer)
    ]


def _field_problems(manifest: Manifest) -> list[str]:
    """Return which fields hold a value of a wrong type, or out of bounds."""
    return [
        f"{name} is {shown(getattr(manifest, name))}, allowed: {allowed}"
        for name, (holds, allowed) in _RULES.items()
        if not holds(getattr(manifest, name))
    ]


def _version_problems(manifest: Manifest) -> list[str]:
    """Return whether a manifest says what its version cannot."""
    if manifest.schema_version >= manifest.least_version:
        return []
    return [
        f"schema_version is {manifest.schema_version} and several head sizes, kv_layer or "
        f"sink_logit need {manifest.least_version}"
    ]


def _file_problems(manifest: Manifest) -> list[str]:
    """Return what is wrong with the list of files that a finished trace has."""
    entries = manifest.files
    if not all(
        isinstance(one, FileEntry)
        and isinstance(one.path, str)
        and _whole(one.size_bytes, 0)
        and isinstance(one.sha256, str)
        for one in entries
    ):
        return ["files holds something other than path, size_bytes and sha256"]
    listed, expected = [one.path for one in entries], manifest.paths()
    problems = [f"files: {shown(path)} is not listed" for path in expected if path not in listed]
    problems += [
        f"files: {shown(path)} is listed and no file of this trace"
        for path in listed
        if path not in expected
    ]
    if not problems and len(listed) != len(expected):
        problems.append("files lists a file twice")
    return problems


def shown(value: object) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
