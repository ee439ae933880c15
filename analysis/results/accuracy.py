"""Accuracy folders: their versioned schema, and a reader that refuses what is not whole.

A folder holds `accuracy.json` (the model, the tasks and how they were run, sealed), `steps.parquet`
(one row for each target of each example, policy and budget: every measure can be taken from it) and
`measures.parquet` (the measures with their intervals).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from analysis.results.tables import Table
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


def beside(table: Table, accuracy: Accuracy) -> Table:
    """Put measures of accuracy beside results, so that figures can join them.

    Both must be of one model, run with the same dense layers, and the results of all its layers.

    Returns:
        The table with one row for each task, policy, its parameters, budget and measure.

    Raises:
        UserError: they are not, or no policy and budget is in both.
    """
    found = accuracy.description
    for run in table.runs:
        where = f"{accuracy.name} does not fit {run.name}"
        dense = run.config["configuration"]["dense_layers"]
        if dense != found["dense_layers"]:
            raise UserError(
                f"{where}: its first {found['dense_layers']} layers are dense and those of the "
                f"results the first {dense}; run one of them again with the other's --dense-layers"
            )
        chosen = run.config["configuration"]["layers"]
        for trace in run.config["traces"]:
            if trace["model"] != found["model"]:
                raise UserError(
                    f"{where}: it is of the model {found['model']} and the results of "
                    f"{trace['model']}; give results and accuracy of one model"
                )
            have = trace["layers"] if chosen is None else chosen
            if sorted(have) != list(range(found["layers"])):
                raise UserError(
                    f"{where}: the model has {found['layers']} layers and the results hold "
                    f"{len(have)} of them; capture and replay all layers"
                )
    named = pl.col("policy").str.splitn(":", 2).struct
    measures = accuracy.measures.with_columns(
        policy=named.field("field_0"), policy_parameters=named.field("field_1").fill_null("")
    )
    keys = ["policy", "policy_parameters", "budget"]
    shared = table.configurations.join(measures, on=keys).filter(pl.col("policy") != "dense")
    if shared.is_empty():
        raise UserError(
            f"{accuracy.name}: no policy at a budget of it is in the results; measure those of "
            "the results"
        )
    return replace(table, accuracy=measures, _cache={})


def mean_over_tasks(table: Table, measure: str) -> pl.DataFrame:
    """Return `value`, `low` and `high` of a measure for each policy, its parameters and budget.

    The interval is that of one task and null where there are several. Empty without accuracy.
    """
    keys = ["policy", "policy_parameters", "budget"]
    schema = dict.fromkeys(keys, pl.String) | dict.fromkeys(("value", "low", "high"), pl.Float64)
    if table.accuracy is None:
        return pl.DataFrame(schema=schema)
    one = pl.len() == 1
    return (
        table.accuracy.filter(pl.col("measure") == measure)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("value").mean(),
            low=pl.when(one).then(pl.col("low").first()),
            high=pl.when(one).then(pl.col("high").first()),
        )
    )
