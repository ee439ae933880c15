"""Accuracy folders: their versioned schema, and a reader that refuses what is not whole.

A folder holds `accuracy.json` (the model, the tasks and how they were run, sealed), `steps.parquet`
(one row for each target of each example, policy and budget: every measure can be taken from it) and
`measures.parquet` (the measures with their intervals).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from pimreplay.results.seal import is_whole, stream_sha256
from tracegen.base.documents import read_json
from tracegen.base.errors import UserError
from tracegen.base.location import local_path

MARKER = "accuracy.json"
SCHEMA_VERSION = 1
STEPS = pa.schema(
    {
        "task": pa.string(),
        "example": pa.int32(),
        "policy": pa.string(),
        "budget": pa.string(),
        "step": pa.int32(),
        "position": pa.int32(),
        "target_id": pa.int32(),
        "target_bytes": pa.int32(),
        "answer": pa.int32(),
        "nats": pa.float64(),
        "dense_divergence_nats": pa.float64(),
        "is_target": pa.bool_(),
        "is_dense_choice": pa.bool_(),
    }
)
TABLES = ("steps", "measures")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An accuracy folder that was read."""

    name: str
    description: dict[str, Any]
    steps: pl.DataFrame
    measures: pl.DataFrame


def read_accuracy(path: str | Path) -> Accuracy:
    """Read a folder, its seal checked.

    Raises:
        UserError: it is not an accuracy folder, of another version, or not as it was written.
    """
    where = local_path(path)
    if not (where / MARKER).is_file():
        raise UserError(
            f"{path}: holds no {MARKER}, so it is not an accuracy folder; give one that "
            "`analysis accuracy` wrote"
        )
    description = read_json(where / MARKER)
    if description.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {description.get('schema_version')!r}, this program reads "
            f"{SCHEMA_VERSION}; measure again with `analysis accuracy`"
        )
    damaged = [] if is_whole(description) else [MARKER]
    for table in TABLES:
        file = where / f"{table}.parquet"
        sealed = (description.get("tables") or {}).get(table, {}).get("sha256")
        if not file.is_file():
            raise UserError(f"{path}: {file.name} is missing; measure again")
        with file.open("rb") as stream:
            if stream_sha256(stream) != sealed:
                damaged.append(file.name)
    if damaged:
        raise UserError(
            f"{path}: {', '.join(damaged)} changed since the folder was written; measure again"
        )
    steps, measures = (pl.read_parquet(where / f"{one}.parquet") for one in TABLES)
    return Accuracy(where.name, description, steps, measures)
