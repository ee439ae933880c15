"""Make the tidy table of one or several runs: stream their results, aggregate, describe."""

from collections.abc import Sequence
from statistics import mean

import polars as pl

from analysis.results import methods
from analysis.results.charge import CHARGES, DEFAULT_CHARGE
from analysis.results.tables import (
    DESCRIPTION,
    LAYER_COLUMNS,
    Table,
    Tidy,
    over_windows,
    value_columns,
)
from pimreplay.results.reader import Results, reading
from pimreplay.results.schema import CONFIGURATION
from tracegen.base.errors import UserError

ROWS = 150_000
"""Tidy rows aimed at; windows widen beyond it."""

_SOURCE = ("run", *CONFIGURATION)
_ROW_KEY = ["configuration", "layer", "kv_head", "window"]
_ROW = [*_ROW_KEY, "first_step", "steps", "dense_layer", "visible_tokens"]


def tidy(runs: Sequence[Results], rows: int = ROWS) -> Table:
    """Aggregate the results of `runs` into the tidy table, streaming: memory follows `rows`.

    Raises:
        UserError: a table of a run is damaged.
    """
    steps = [_described(run, run.tables["steps"]) for run in runs]
    configurations = _configurations(runs, steps)
    total = sum(count_steps(run) for run in runs)
    width = 1
    while total / width > rows:
        width *= 2
    frames, lanes, lane_windows = [], [], []
    for run, scan in zip(runs, steps, strict=True):
        numbered = _numbered(scan, configurations)
        with reading(run.path):
            per_layer = _layer_windows(run, configurations, width)
            per_lane = _lane_loads(run, configurations)
            frame = _windows(numbered, width)
            loads = _lane_windows(numbered, width)
        frame = _joined(frame, per_layer, ["configuration", "layer", "window"])
        frame = _joined(
            frame, None if per_lane is None else _lane_balance(per_lane), ["configuration", "layer"]
        )
        frames.append(frame.with_columns(_missing(frame, tuple(value_columns()))).sort(_ROW_KEY))
        if per_lane is not None:
            lanes.append(per_lane)
        if loads is not None:
            lane_windows.append(loads)
    table = _with_decided(
        pl.concat([one.select(*_ROW, *value_columns()) for one in frames]), configurations
    )
    decided = table.select("configuration", "layer", "decided").unique()
    loads = _concatenated(lanes, decided)
    return Table(
        tidy=Tidy(
            rows=table,
            heads=over_windows(table),
            lanes=loads,
            lane_windows=_concatenated(lane_windows, decided),
        ),
        configurations=_with_channels(
            _with_budget_tokens(configurations, table, runs), loads, runs
        ),
        runs=tuple(runs),
        window_steps=width,
        charged=DEFAULT_CHARGE if _known(table) else next(iter(CHARGES)),
    )


def _known(rows: pl.DataFrame) -> bool:
    """Whether latency with overheads is known of any layer: older results have attention alone."""
    return rows[CHARGES[DEFAULT_CHARGE].latency].null_count() < len(rows)


def count_steps(run: Results) -> int:
    """Return the rows of a run's steps.

    Raises:
        UserError: there are none, so there is nothing to show.
    """
    rows: int = run.tables["steps"].select(pl.len()).collect().item()
    if rows == 0:
        raise UserError(
            f"{run.path}/steps.parquet: holds no rows, nothing was replayed; replay again"
        )
    return rows


def _concatenated(frames: list[pl.DataFrame], decided: pl.DataFrame) -> pl.DataFrame | None:
    if not frames:
        return None
    return pl.concat(frames, how="diagonal").join(decided, on=["configuration", "layer"])


def _with_decided(rows: pl.DataFrame, configurations: pl.DataFrame) -> pl.DataFrame:
    """Say of each layer whether the policies decide it, for the dense baseline too."""
    run = configurations.select("configuration", "run", "trace", "policy")
    kept_dense = (
        rows.filter("dense_layer")
        .select("configuration", "layer")
        .unique()
        .join(run, on="configuration")
        .filter(pl.col("policy") != "dense")
        .select("run", "trace", "layer", decided=pl.lit(False))
        .unique()
    )
    return (
        rows.join(run.drop("policy"), on="configuration", how="left", maintain_order="left")
        .join(kept_dense, on=["run", "trace", "layer"], how="left", maintain_order="left")
        .drop("run", "trace")
        .with_columns(pl.col("decided").fill_null(True))
    )


def _configurations(runs: Sequence[Results], steps: Sequence[pl.LazyFrame]) -> pl.DataFrame:
    """Number the configurations of all runs and give each its method label."""
    each = []
    for run, scan in zip(runs, steps, strict=True):
        with reading(run.path):
            each.append(scan.select(_SOURCE).unique().collect())
    found = pl.concat(each).sort(_SOURCE).with_row_index("configuration")
    described = methods.described(found)
    named = found.join(described, on=methods.METHOD, how="left", maintain_order="left")
    number = pl.col("configuration").cast(pl.Int32)
    names = (name for name in DESCRIPTION if name != "budget_tokens")
    return named.select(number, *names, "full", "rank", "look")


def _with_budget_tokens(
    configurations: pl.DataFrame, rows: pl.DataFrame, runs: Sequence[Results]
) -> pl.DataFrame:
    """Add each budget in tokens: a share is taken of the mean context, a schedule as its mean."""
    replayed = {str(layer) for layer in rows["layer"].unique()}
    scheduled = pl.DataFrame(
        [
            (run.name, one["name"], _mean_tokens(one["layers"], replayed))
            for run in runs
            for one in run.config.get("budget_schedules", [])
        ],
        schema={"run": pl.String, "budget": pl.String, "scheduled": pl.Float64},
        orient="row",
    )
    visible = rows.group_by("configuration").agg(context=pl.col("visible_tokens").mean())
    number = pl.col("budget").str.strip_suffix("%").cast(pl.Float64, strict=False)
    ratio = pl.when(pl.col("budget").str.ends_with("%")).then(number / 100).otherwise(number)
    is_ratio = pl.col("budget").str.contains(r"[%.]")
    tokens = pl.when(is_ratio).then(ratio * pl.col("context")).otherwise(ratio)
    known = configurations.join(visible, on="configuration", how="left")
    return known.join(scheduled, on=["run", "budget"], how="left", maintain_order="left").select(
        "configuration",
        *DESCRIPTION[:-1],
        "full",
        "rank",
        "look",
        budget_tokens=tokens.fill_null(pl.col("scheduled")),
    )


def _mean_tokens(layers: dict[str, list[int]], replayed: set[str]) -> float | None:
    """Return a schedule's mean over the layers that were replayed; None: it names none of them."""
    named = [mean(tokens) for layer, tokens in layers.items() if layer in replayed]
    return float(mean(named)) if named else None


def _with_channels(
    configurations: pl.DataFrame, lanes: pl.DataFrame | None, runs: Sequence[Results]
) -> pl.DataFrame:
    """Say how many channels hold a part of the cache, and how many the device has."""
    device = {
        (run.name, str(one.get("name"))): one.get("channels")
        for run in runs
        for one in run.config.get("hardware", [])
    }
    has = [device.get(key) for key in configurations.select("run", "hardware").iter_rows()]
    configurations = configurations.with_columns(pl.Series("device_channels", has, dtype=pl.Int32))
    if lanes is None:
        return configurations.with_columns(channels=pl.lit(None, dtype=pl.Int32))
    used = lanes.group_by("configuration").agg(channels=pl.col("channel").n_unique().cast(pl.Int32))
    return configurations.join(used, on="configuration", how="left", maintain_order="left")


def _described(run: Results, scan: pl.LazyFrame) -> pl.LazyFrame:
    """Add the run's name, and write the settings as text."""
    text = [pl.col(name).cast(pl.String).fill_null("") for name in CONFIGURATION]
    return scan.with_columns(*text, run=pl.lit(run.name))


def _numbered(scan: pl.LazyFrame, configurations: pl.DataFrame) -> pl.LazyFrame:
    key = configurations.lazy().select("configuration", *_SOURCE)
    return scan.join(key, on=list(_SOURCE), how="inner")


def _mean(column: str) -> pl.Expr:
    """Return the mean of a column, unknown as soon as one of its values is."""
    known = pl.col(column).null_count() == 0
    return pl.when(known).then(pl.col(column).mean()).alias(column)


def _windows(scan: pl.LazyFrame, width: int) -> pl.DataFrame:
    columns = scan.collect_schema().names()
    if "fetched_tokens" not in columns and "overfetch_ratio" in columns:
        scan = scan.with_columns(
            fetched_tokens=pl.col("overfetch_ratio") * pl.col("selected_tokens")
        )
        columns.append("fetched_tokens")
    wanted = value_columns()
    values = [name for name in (*wanted.amounts, *wanted.ratios) if name in columns]
    return (
        scan.group_by(
            "configuration", "layer", "kv_head", (pl.col("step") // width).alias("window")
        )
        .agg(
            first_step=pl.col("step").min(),
            steps=pl.len(),
            dense_layer=pl.col("dense_layer").any(),
            visible_tokens=pl.col("visible_tokens").mean(),
            **{name: _mean(name) for name in values},
        )
        .collect(engine="streaming")
    )


def _layer_windows(run: Results, configurations: pl.DataFrame, width: int) -> pl.DataFrame:
    scan = run.tables["layers"]
    columns = scan.collect_schema().names()
    own = {LAYER_COLUMNS[name]: name for name in value_columns().layer_amounts}
    own = {column: name for column, name in own.items() if column in columns}
    scan = scan.rename(own)
    window = (pl.col("step") // width).alias("window")
    return (
        _numbered(_described(run, scan), configurations)
        .group_by("configuration", "layer", window)
        .agg(*[_mean(name) for name in own.values()])
        .collect(engine="streaming")
    )


def _lane_loads(run: Results, configurations: pl.DataFrame) -> pl.DataFrame | None:
    scan = _numbered(_described(run, run.tables["channels"]), configurations)
    return (
        scan.group_by("configuration", "layer", "channel", "lane")
        .agg(load=pl.col("tokens").sum().cast(pl.Float64))
        .sort("configuration", "layer", "channel", "lane")
        .collect(engine="streaming")
    )


def _lane_windows(scan: pl.LazyFrame, width: int) -> pl.DataFrame | None:
    if "lane_tokens" not in scan.collect_schema().names():
        return None
    tokens = pl.col("lane_tokens")
    most = scan.select(tokens.list.len().max()).collect().item()
    if not most:
        return None
    return (
        scan.group_by(
            "configuration", "layer", "kv_head", (pl.col("step") // width).alias("window")
        )
        .agg(
            tokens.list.get(lane, null_on_oob=True).mean().cast(pl.Float32).alias(f"lane_{lane}")
            for lane in range(most)
        )
        .with_columns(pl.col(name).cast(pl.Int32) for name in _ROW_KEY)
        .collect(engine="streaming")
    )


def _lane_balance(lanes: pl.DataFrame) -> pl.DataFrame:
    """Return maximum over mean and Gini coefficient of the lanes of the channels in use."""
    load = pl.col("load").sort()
    rank = pl.int_range(1, pl.len() + 1)
    gini = 2 * (rank * load).sum() / (pl.len() * load.sum()) - (pl.len() + 1) / pl.len()
    used = lanes.filter(pl.col("load").sum().over("configuration", "layer", "channel") > 0)
    return used.group_by("configuration", "layer").agg(
        lane_busiest_ratio=load.max() / load.mean(), lane_gini_ratio=gini
    )


def _joined(frame: pl.DataFrame, other: pl.DataFrame | None, on: list[str]) -> pl.DataFrame:
    return frame if other is None else frame.join(other, on=on, how="left")


def _missing(frame: pl.DataFrame, names: Sequence[str]) -> list[pl.Expr]:
    """Return columns that the results lack, as unknown, and the others in one type."""
    return (
        [
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(pl.Float64).alias(name)
            for name in names
        ]
        + [pl.col("visible_tokens").cast(pl.Float64), pl.col("steps").cast(pl.Int64)]
        + [pl.col(name).cast(pl.Int32) for name in (*_ROW_KEY, "first_step")]
    )
