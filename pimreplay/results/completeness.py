"""Whether result tables hold what was run: every row once, and numbers that can be measured.

A seal only says that a file is as it was written. These checks need none: they hold for every
folder, and they are the only ones that an unsealed folder of an older version gets.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from pimreplay.results.schema import CONFIGURATION

if TYPE_CHECKING:
    import polars as pl

IDENTIFIERS = (*CONFIGURATION, "dense_layer", "layer", "kv_head", "step", "channel", "lane")
"""Columns that say what a row is about: never null. Every other number is one measured."""
PARTS = {"steps": ("kv_head", "step"), "layers": (None, "step"), "channels": ("channel", "lane")}
"""What a layer's rows are divided into, and the number that counts them within such a part."""
AT_MOST_ONE = ("attention_mass_ratio", "topk_overlap_ratio", "lane_utilisation_ratio")
ROUNDING = 1e-5
"""Ratios are of float32 sums, which may end a little above 1."""


def problems(config: dict[str, Any], tables: "Mapping[str, pl.LazyFrame]") -> Iterator[str]:
    """Yield what is wrong with the required tables, each as a sentence that names its file."""
    for name, scan in tables.items():
        yield from (f"{name}.parquet: {problem}" for problem in _values(scan))
    points = tables["points"].select("point", "status", *CONFIGURATION).collect()
    yield from (f"points.parquet: {problem}" for problem in _points(config, points))
    done = points.filter(status="ok")
    for name in PARTS:
        found = _incomplete(config, done, name, tables[name])
        yield from (f"{name}.parquet: {problem}" for problem in found)


def _values(scan: "pl.LazyFrame") -> Iterator[str]:
    """Name columns with a null where something is named, or a number that nothing measures."""
    import polars as pl

    schema = scan.collect_schema()
    checks = {}
    for name, kind in schema.items():
        column = pl.col(name)
        if name in IDENTIFIERS:
            checks[name, "holds a null"] = column.null_count() == 0
        if kind.is_float():
            checks[name, "holds a value that is not finite"] = column.is_finite().all()
        if kind.is_numeric() and name != "log_prob":
            checks[name, "holds a negative value"] = (column >= 0).all()
        if name in AT_MOST_ONE:
            checks[name, "holds a share above 1"] = (column <= 1 + ROUNDING).all()
    sound = scan.select(
        check.alias(str(number)) for number, check in enumerate(checks.values())
    ).collect(engine="streaming")
    for (name, problem), good in zip(checks, sound.row(0), strict=True):
        if not good:
            yield f"column {name} {problem}"


def _points(config: dict[str, Any], points: "pl.DataFrame") -> Iterator[str]:
    asked = config["configuration"]
    grid = {"traces": config["traces"]}
    grid |= {key: asked[key] for key in ("policies", "budgets", "hardware")}
    expected = prod(len(one) for one in grid.values())
    if len(points) != expected:
        of = " x ".join(f"{len(one)} {name}" for name, one in grid.items())
        yield f"holds {len(points)} points where {of} make {expected}"
    if points.select(*CONFIGURATION).is_duplicated().any():
        yield "holds a point twice"
    if not points["status"].is_in(["ok", "failed"]).all():
        yield "column status holds something other than ok and failed"


def _incomplete(
    config: dict[str, Any], done: "pl.DataFrame", table: str, scan: "pl.LazyFrame"
) -> Iterator[str]:
    """Name each finished point that lacks rows in a table or holds one twice."""
    found = _by_point(table, scan)
    strangers = found.join(done, on=[*CONFIGURATION], how="anti")
    if len(strangers):
        yield f"holds rows of {len(strangers)} points that points.parquet does not call ok"
    traces = {one["name"]: one for one in config["traces"]}
    for row in done.join(found, on=[*CONFIGURATION], how="left").iter_rows(named=True):
        trace = traces.get(row["trace"], {"layers": [], "kv_heads": 0, "decode_steps": 0})
        layers = config["configuration"]["layers"] or trace["layers"]
        parts = {"steps": trace["kv_heads"], "layers": 1, "channels": row["parts"]}[table]
        numbers = row["numbers"] if table == "channels" else trace["decode_steps"]
        complete = (
            row["gapless"]
            and row["layers"] == sorted(layers)
            and row["parts"] == parts
            and row["numbers"] == numbers
            and row["rows"] == len(layers) * parts * numbers
        )
        if not complete:
            yield f"rows of {row['point']} are missing or repeated ({row['rows'] or 0} rows)"


def _by_point(table: str, scan: "pl.LazyFrame") -> "pl.DataFrame":
    """Count each point's layers, its parts of a layer, and the numbers within each part."""
    import polars as pl

    part, number = PARTS[table]
    key = [*CONFIGURATION]
    place = pl.col(part) if part else pl.lit(0)
    per_part = scan.group_by(*key, "layer", place.alias("part")).agg(
        rows=pl.len(), different=pl.col(number).n_unique(), numbers=pl.col(number).max() + 1
    )
    per_point = per_part.group_by(key).agg(
        layers=pl.col("layer").unique().sort(),
        parts=pl.col("part").max() + 1,
        numbers=pl.col("numbers").max(),
        rows=pl.col("rows").sum(),
        gapless=(pl.col("rows") == pl.col("different")).all()
        & (pl.col("rows") == pl.col("numbers")).all(),
    )
    return per_point.collect(engine="streaming")
