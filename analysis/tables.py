"""The one tidy table that feeds every figure, report and page, and its aggregation.

A tidy row is one (configuration, layer, kv_head, window): a window is a few neighbouring decode
steps, as many as keep the table small (one for ordinary runs), and each value is the mean over
its steps. Configurations (run, trace, policy, layout, hardware, budget) are described once, in a
small frame of their own, and rows point to them by number.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from analysis.metrics import metrics
from analysis.runs import Run

RATIOS = (
    "lane_utilisation_ratio",
    "attention_mass_ratio",
    "topk_overlap_ratio",
    "output_error_ratio",
)
"""Columns that are averaged over KV heads and layers; every other amount of a head is summed."""

AMOUNTS = (
    "selected_tokens",
    "fetched_tokens",
    "union_tokens",
    "blocks",
    "activations",
    "cycles",
    "latency_ns",
    "score_ns",
    "softmax_ns",
    "context_ns",
    "move_ns",
    "scoring_ns",
    "clustering_ns",
    "remap_ns",
    "energy_pj",
    "activation_pj",
    "cell_pj",
    "movement_pj",
    "mac_pj",
    "softmax_pj",
    "background_pj",
    "refresh_pj",
    "scoring_pj",
    "clustering_pj",
    "remap_pj",
)
"""Amounts of one KV head in one step."""

LAYER_AMOUNTS = (
    "layer_latency_ns",
    "busiest_channel_ns",
    "mean_channel_ns",
)
"""Amounts of one layer in one step, repeated on the rows of its KV heads."""

LAYER_RATIOS = ("lane_busiest_ratio", "lane_gini_ratio")
"""Ratios of one layer over the whole run, repeated likewise."""

VALUES = (*AMOUNTS, *RATIOS, *LAYER_AMOUNTS, *LAYER_RATIOS)

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
"""Columns that describe a configuration; `method` is policy and layout as one label, and
`budget_tokens` the budget in tokens, a ratio taken of the mean context."""


@dataclass(frozen=True, slots=True)
class Table:
    """The tidy table of one or several runs; everything below it is a pure function of it."""

    rows: pl.DataFrame
    """configuration, layer, kv_head, window, steps, first_step, dense_layer, visible_tokens,
    and `VALUES`."""
    configurations: pl.DataFrame
    """configuration (its number), and `DESCRIPTION`."""
    lanes: pl.DataFrame | None
    """configuration, layer, channel, lane, load: summed over steps; None: not in the results."""
    lane_windows: pl.DataFrame | None
    """configuration, layer, kv_head, window, lane_0, lane_1, ...: tokens read by each lane."""
    runs: tuple[Run, ...]
    window_steps: int
    """Decode steps in a window."""
    _cache: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict, compare=False)

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
        `policy_layers` leaves out the layers that the run kept dense.
        """
        keep: list[pl.Expr] = []
        described = self.configurations
        if configurations is not None:
            keep.append(pl.col("configuration").is_in(list(configurations)))
            described = described.filter(pl.col("configuration").is_in(list(configurations)))
        if layers is not None:
            keep.append(pl.col("layer").is_in(list(layers)))
        if kv_heads is not None:
            keep.append(pl.col("kv_head").is_in(list(kv_heads)))
        if steps is not None:
            first = steps[0] // self.window_steps
            keep.append(pl.col("window").is_between(first, steps[1] // self.window_steps))
        rows = self.rows.filter(*keep) if keep else self.rows
        if policy_layers:
            rows = _policy_layers(rows, described)
        lanes = self.lanes
        if lanes is not None:
            lane_keep = [
                pl.col("configuration").is_in(described["configuration"].to_list()),
                pl.col("layer").is_in(rows["layer"].unique().to_list()),
            ]
            lanes = lanes.filter(*lane_keep)
        lane_windows = self.lane_windows
        if lane_windows is not None:
            kept = rows.select("configuration", "layer", "kv_head", "window")
            lane_windows = lane_windows.join(kept, on=kept.columns, how="semi")
        return replace(
            self,
            rows=rows,
            configurations=described,
            lanes=lanes,
            lane_windows=lane_windows,
            _cache={},
        )

    def measured(self, *by: str) -> pl.DataFrame:
        """Return every metric per configuration, and per `by` (layer, kv_head, window).

        One row per group, with the columns of `DESCRIPTION`, `by`, `visible_tokens`, `steps` and
        one column per metric. Without `by` a row is a whole decode step: amounts are summed over
        layers and KV heads.
        """
        key = tuple(by)
        if key not in self._cache:
            expressions = [one.compute.alias(name) for name, one in metrics().items()]
            self._cache[key] = (
                _aggregated(self.rows, by)
                .with_columns(expressions)
                .join(self.configurations, on="configuration")
                .sort("configuration", *by)
            )
        return self._cache[key]


def _policy_layers(rows: pl.DataFrame, configurations: pl.DataFrame) -> pl.DataFrame:
    """Leave out the layers that a run kept dense, for its dense baseline too."""
    run = configurations.select("configuration", "run", "trace", "policy")
    kept_dense = (
        rows.filter("dense_layer")
        .select("configuration", "layer")
        .unique()
        .join(run, on="configuration")
        .filter(pl.col("policy") != "dense")
        .select("run", "trace", "layer")
        .unique()
    )
    if kept_dense.is_empty():
        return rows
    sparse = (
        rows.join(run.drop("policy"), on="configuration", how="left", maintain_order="left")
        .join(kept_dense, on=["run", "trace", "layer"], how="anti", maintain_order="left")
        .drop("run", "trace")
    )
    return sparse if len(sparse) else rows


def _aggregated(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return `VALUES` per configuration and `by`: means over steps, amounts summed over heads."""
    group = ["configuration", *by]
    per_layer = list(dict.fromkeys([*group, "layer"]))
    weight = pl.col("steps")
    heads = pl.col("kv_head").n_unique()

    def over_steps(name: str, factor: pl.Expr | int) -> pl.Expr:
        known = pl.col(name).null_count() == 0
        mean = (pl.col(name) * weight).sum() / weight.sum() * factor
        return pl.when(known).then(mean).alias(name)

    layers = rows.group_by(per_layer).agg(
        *[over_steps(name, heads) for name in AMOUNTS],
        *[over_steps(name, 1) for name in (*RATIOS, *LAYER_AMOUNTS, *LAYER_RATIOS)],
        over_steps("visible_tokens", 1),
        steps=weight.sum() // heads,
        heads=heads,
    )
    if "layer" in group:
        return layers.drop("heads")

    def over_layers(name: str) -> pl.Expr:
        known = pl.col(name).null_count() == 0
        return pl.when(known).then(pl.col(name).sum()).alias(name)

    def mean_over_layers(name: str) -> pl.Expr:
        known = pl.col(name).null_count() == 0
        mean = (pl.col(name) * pl.col("heads")).sum() / pl.col("heads").sum()
        return pl.when(known).then(mean).alias(name)

    return layers.group_by(group).agg(
        *[over_layers(name) for name in (*AMOUNTS, *LAYER_AMOUNTS)],
        *[mean_over_layers(name) for name in (*RATIOS, *LAYER_RATIOS, "visible_tokens")],
        pl.col("steps").max(),
    )
