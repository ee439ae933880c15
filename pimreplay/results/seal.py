"""The seal of a results folder: what its files must hold, written down when they were written.

`run.json` lists the rows and the SHA-256 of every table, and its own SHA-256 over all the rest.
It guards against flipped bits, lost rows and edits by hand; it is not a signature against forgery.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

CHUNK_BYTES = 1 << 20


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(config: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of `run.json`: the configuration, its tables' seals, and its own."""
    whole = {**config, "tables": dict(tables)}
    return {**whole, "sha256": _own(whole)}


def unsealed(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that was given to `sealed`."""
    return {key: value for key, value in whole.items() if key not in ("tables", "sha256")}


def is_whole(config: Mapping[str, Any]) -> bool:
    """Whether `run.json` holds what was written, its list of tables included."""
    return config.get("sha256") == _own(config)


def stream_sha256(stream: BinaryIO) -> str:
    """Return the SHA-256 of what is left to read in a stream."""
    found = hashlib.sha256()
    for chunk in _chunks(stream):
        found.update(chunk)
    return found.hexdigest()


def _own(config: Mapping[str, Any]) -> str:
    # as JSON gives it back: tuples are lists, numbers are what they print as
    content = json.loads(json.dumps({key: config[key] for key in config if key != "sha256"}))
    return digest(content)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk
