"""The one tidy table that feeds every figure, report and page, and its aggregation.

A tidy row is one (configuration, layer, kv_head, window): a window is a few neighbouring decode
steps, as many as keep the table small (one for ordinary runs), and each value is the mean over
its steps. Configurations (run, trace, policy, layout, hardware, budget) are described once, in a
small frame of their own, and rows point to them by number.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import polars as pl

from analysis.metrics import metrics
from analysis.results.charge import CHARGED, CHARGES, DEFAULT_CHARGE, Charge
from pimreplay.results.reader import Results
from pimreplay.results.schema import SCHEMAS, STEP_VALUES
from tracegen.base.errors import UserError, nearest

DERIVED = ("fetched_tokens", "lane_busiest_ratio", "lane_gini_ratio")
"""Columns that the tidying computes; the others are columns of the results."""

LAYER_COLUMNS = {
    f"layer_{name}" if name in STEP_VALUES else name: name
    for name in SCHEMAS["layers"].names
    if name not in SCHEMAS["steps"].names or name in STEP_VALUES
}
"""Columns of one layer in one step, with their names in the results; repeated on the rows of the
layer's KV heads."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The value columns of the tidy table: those that a metric reads."""

    amounts: tuple[str, ...]
    """Of one KV head in one step: summed over KV heads and layers."""
    ratios: tuple[str, ...]
    """Of one KV head in one step: averaged over KV heads and layers."""
    layer_amounts: tuple[str, ...]
    """Of one layer in one step: summed over layers."""
    layer_ratios: tuple[str, ...]
    """Of one layer over the whole run: averaged over layers."""

    def __iter__(self) -> Iterator[str]:
        """Yield every column."""
        yield from (*self.amounts, *self.ratios, *self.layer_amounts, *self.layer_ratios)


@cache
def value_columns() -> Columns:
    """Return the columns that the metrics read.

    Raises:
        ImportError: a metric reads a column that neither the results nor the tidying have.
    """
    known = (*STEP_VALUES, *LAYER_COLUMNS, *DERIVED, *CHARGED)
    read: dict[str, None] = {}
    for name, one in metrics().items():
        for column in one.compute.meta.root_names():
            if column not in known:
                raise ImportError(f"metric {name}: no column {column}; known: {', '.join(known)}")
            read |= dict.fromkeys(CHARGED.get(column, (column,)))
    heads = [one for one in read if one in STEP_VALUES or one == "fetched_tokens"]
    heads = [one for one in heads if one != "visible_tokens"]
    return Columns(
        amounts=tuple(one for one in heads if not one.endswith("_ratio")),
        ratios=tuple(one for one in heads if one.endswith("_ratio")),
        layer_amounts=tuple(one for one in read if one in LAYER_COLUMNS),
        layer_ratios=tuple(one for one in DERIVED if one.startswith("lane_") and one in read),
    )


DESCRIPTION = (
    "run",
    "trace",
    "model",
    "trace_kind",
    "hardware",
    "budget",
    "policy",
    "policy_parameters",
    "layout",
    "method",
    "budget_tokens",
)
"""Columns that describe a configuration; `method` is the label of policy, parameters and layout,
and `budget_tokens` the budget in tokens, a ratio taken of the mean context."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What part of a table is kept; None keeps everything."""

    configurations: frozenset[int] | None = None
    layers: frozenset[int] | None = None
    kv_heads: frozenset[int] | None = None
    windows: tuple[int, int] | None = None
    """First and last window, both included."""
    decided: bool = False
    """Only layers that the policies decide: not those that the run kept dense."""

    def layer_filter(self) -> list[pl.Expr]:
        """Return what holds for a frame of layers."""
        keep: list[pl.Expr] = []
        if self.configurations is not None:
            keep.append(pl.col("configuration").is_in(sorted(self.configurations)))
        if self.layers is not None:
            keep.append(pl.col("layer").is_in(sorted(self.layers)))
        return [*keep, pl.col("decided")] if self.decided else keep

    def head_filter(self) -> list[pl.Expr]:
        """Return what holds for a frame of KV heads, over all steps."""
        if self.kv_heads is None:
            return self.layer_filter()
        return [*self.layer_filter(), pl.col("kv_head").is_in(sorted(self.kv_heads))]

    def window_filter(self) -> list[pl.Expr]:
        """Return what holds for a frame of windows."""
        if self.windows is None:
            return self.head_filter()
        return [*self.head_filter(), pl.col("window").is_between(*self.windows)]


@dataclass(frozen=True, slots=True)
class Tidy:
    """The frames of the tidy table, whole."""

    rows: pl.DataFrame
    """configuration, layer, kv_head, window, steps, first_step, dense_layer, decided,
    visible_tokens, and `value_columns()`. `decided`: the policies decide this layer, the run did
    not keep it dense."""
    heads: pl.DataFrame
    """The same over all windows, so one row per configuration, layer and KV head."""
    lanes: pl.DataFrame | None
    """configuration, layer, decided, channel, lane, load: summed over steps; None: unknown."""
    lane_windows: pl.DataFrame | None
    """configuration, layer, kv_head, window, decided, lane_0, lane_1, ...: tokens selected."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The tidy table of one or several runs, or a part of it; figures are pure functions of it."""

    tidy: Tidy
    configurations: pl.DataFrame
    """configuration (its number), `DESCRIPTION`, the method's `full` name, `rank` and `look`,
    `channels` in use and `device_channels`; null where unknown."""
    runs: tuple[Results, ...]
    window_steps: int
    """Decode steps in a window."""
    kept: Kept = Kept()
    charged: str = DEFAULT_CHARGE
    """Which of `CHARGES` latency and energy are."""
    baselines: pl.DataFrame | None = None
    """Configurations that others are compared with, shown or not; None: those that are shown."""
    accuracy: pl.DataFrame | None = None
    """What `analysis.results.accuracy.beside` put beside the results; None: nothing."""
    _cache: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict)

    def narrowed(
        self,
        configurations: Collection[int] | None = None,
        layers: Collection[int] | None = None,
        kv_heads: Collection[int] | None = None,
        steps: tuple[int, int] | None = None,
        policy_layers: bool = False,
    ) -> "Table":
        """Return the part of the table that a reader asked for; None keeps everything.

        `steps` is a first and a last decode step, both included, in whole windows.
        `policy_layers` leaves out the layers that the run kept dense, if others are left.
        """
        kept = self.kept
        described = self.configurations
        if configurations is not None:
            described = described.filter(pl.col("configuration").is_in(list(configurations)))
            kept = replace(kept, configurations=frozenset(described["configuration"]))
        if layers is not None:
            kept = replace(kept, layers=frozenset(layers))
        if kv_heads is not None:
            kept = replace(kept, kv_heads=frozenset(kv_heads))
        if steps is not None:
            width = self.window_steps
            kept = replace(kept, windows=(steps[0] // width, steps[1] // width))
        if policy_layers:
            sparse = replace(kept, decided=True)
            if len(self.tidy.heads.filter(*sparse.head_filter())):
                kept = sparse
        return replace(self, configurations=described, kept=kept, _cache={})

    @property
    def charge(self) -> Charge:
        """What latency and energy contain."""
        return CHARGES[self.charged]

    def charging(self, name: str | None) -> "Table":
        """Return the table with latency and energy charged as `CHARGES[name]` says; None: as usual.

        Raises:
            UserError: there is no such charge.
        """
        if name is None:
            return self
        if name not in CHARGES:
            raise UserError(f"--cost {name!r} is unknown; {nearest(name, CHARGES)}")
        return replace(self, charged=name, _cache={})

    @property
    def rows(self) -> pl.DataFrame:
        """The tidy rows that are kept."""
        return self.remembered("rows", lambda t: t.tidy.rows.filter(*t.kept.window_filter()))

    @property
    def heads(self) -> pl.DataFrame:
        """The kept rows over all their windows."""
        if self.kept.windows is None:
            return self.remembered("heads", lambda t: t.tidy.heads.filter(*t.kept.head_filter()))
        return self.remembered("heads", lambda t: over_windows(t.rows))

    @property
    def lanes(self) -> pl.DataFrame | None:
        """The kept loads of lanes, summed over all steps whatever steps are kept."""
        lanes = self.tidy.lanes
        return None if lanes is None else lanes.filter(*self.kept.layer_filter())

    @property
    def lane_windows(self) -> pl.DataFrame | None:
        """The kept loads of lanes by window."""
        lanes = self.tidy.lane_windows
        return None if lanes is None else lanes.filter(*self.kept.window_filter())

    @property
    def references(self) -> pl.DataFrame:
        """Latency and energy of a decode step of every configuration to compare with."""
        return self.remembered("references", _baselines)

    def remembered(self, name: str, make: "Callable[[Table], pl.DataFrame]") -> pl.DataFrame:
        """Return `make(self)`, computed once for this part of the table."""
        if (name,) not in self._cache:
            self._cache[name,] = make(self)
        return self._cache[name,]

    def measured(self, *by: str, only: Sequence[str] | None = None) -> pl.DataFrame:
        """Return every metric per configuration, and per `by` (layer, kv_head, window).

        One row per group, with the columns of `DESCRIPTION`, `by`, `visible_tokens`, `steps` and
        one column per metric, or per metric of `only`. Without `by` a row is a whole decode step:
        amounts are summed over layers and KV heads.
        """
        key = ("measured", *by, "only", *(only or ()))
        if key not in self._cache:
            wanted = {name: one for name, one in metrics().items() if not only or name in only}
            roots = {root for one in wanted.values() for root in one.compute.meta.root_names()}
            needed = {one for root in roots for one in CHARGED.get(root, (root,))}
            charged = {one: how for one, how in self.charge.columns().items() if one in roots}
            rows = self.rows if "window" in by else self.heads
            self._cache[key] = (
                _aggregated(rows, by, needed)
                .with_columns(**charged)
                .with_columns(one.compute.alias(name) for name, one in wanted.items())
                .join(self.configurations, on="configuration")
                .sort("configuration", *by)
            )
        return self._cache[key]


def _baselines(table: Table) -> pl.DataFrame:
    if table.baselines is None:
        return table.measured()
    numbers = frozenset(table.baselines["configuration"])
    kept = replace(table.kept, configurations=numbers)
    whole = replace(table, configurations=table.baselines, kept=kept, _cache={})
    return whole.measured(only=("latency", "energy"))


def over_windows(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the means over windows, one row per configuration, layer and KV head."""
    weight = pl.col("steps")

    def mean(name: str) -> pl.Expr:
        known = pl.col(name).null_count() == 0
        return pl.when(known).then((pl.col(name) * weight).sum() / weight.sum()).alias(name)

    return rows.group_by("configuration", "layer", "kv_head").agg(
        pl.col("first_step").min(),
        pl.col("dense_layer", "decided").first(),
        *map(mean, (*value_columns(), "visible_tokens")),
        steps=weight.sum(),
        window=pl.lit(0, dtype=pl.Int32),
    )


def _aggregated(rows: pl.DataFrame, by: Sequence[str], needed: Collection[str]) -> pl.DataFrame:
    """Return what is `needed` per configuration and `by`.

    Means over steps; amounts summed over KV heads and layers, ratios averaged over them.
    """
    group = ["configuration", *by]
    per_layer = list(dict.fromkeys([*group, "layer"]))
    weight, heads = pl.col("steps"), pl.col("kv_head").n_unique()
    columns = value_columns()
    amounts = [name for name in columns.amounts if name in needed]
    layer_amounts = [name for name in columns.layer_amounts if name in needed]
    averaged = (*columns.ratios, *columns.layer_ratios)
    ratios = [*(name for name in averaged if name in needed), "visible_tokens"]

    def known(name: str, value: pl.Expr) -> pl.Expr:
        return pl.when(pl.col(name).null_count() == 0).then(value).alias(name)

    def mean(name: str) -> pl.Expr:
        return (pl.col(name) * weight).sum() / weight.sum()

    layers = rows.group_by(per_layer).agg(
        *[known(name, mean(name) * heads) for name in amounts],
        *[known(name, mean(name)) for name in (*layer_amounts, *ratios)],
        pl.col("first_step").min(),
        steps=weight.sum() // heads,
        heads=heads,
    )
    if "layer" in group:
        return layers.drop("heads")
    share = pl.col("heads") / pl.col("heads").sum()
    return layers.group_by(group).agg(
        *[known(name, pl.col(name).sum()) for name in (*amounts, *layer_amounts)],
        *[known(name, (pl.col(name) * share).sum()) for name in ratios],
        pl.col("steps").max(),
        pl.col("first_step").min(),
    )
