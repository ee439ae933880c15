"""All steps of all tables: latency, energy and overheads of one attention layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.starc.accounting import ArtefactEnergy, artefact_energy, counted_energy
from analysis.starc.cost import IntArray, LayerRun, LayerSimulator, StepCosts
from analysis.starc.row_tokens import RowTokens
from analysis.starc.shapes import SHAPES, TITLES, Shape, System
from pimreplay.hardware import Hardware
from pimreplay.schedule import overhead_cost

FloatArray = NDArray[np.float64]

CONTEXTS = (4096, 8192, 16384, 24576, 32768)
"""Tokens in the cache that the report's tables are about: 4k, 8k, 16k, 24k, 32k."""
BUDGET_TOKENS = 1024
"""The budget that every table was made with."""
STARC_WINDOW_TOKENS, STARC_CLUSTERS, STARC_ITERATIONS = 64, 4, 16
QUEST_PAGE_TOKENS = 16
SPARQ_RANK = 16
"""Assumed: the artefact does not say how many of the 128 components SparQ scores with."""


@dataclass(frozen=True, slots=True)
class Series:
    """One method on one model: every array is (steps,), of one layer, all heads of the batch."""

    shape: Shape
    method: str
    context: IntArray
    """Tokens in the cache."""
    tokens: FloatArray | None
    """The table; None for full attention."""
    costs: StepCosts
    latency_ns: FloatArray
    artefact: ArtefactEnergy
    """Energy as the artefact counts it."""
    counted_pj: FloatArray | None
    """Energy by counted events; None where a coefficient is unknown."""
    scoring_ns: FloatArray
    """Finding out what to read (centroids, pages, components), which the artefact leaves out."""
    scoring_pj: FloatArray | None

    @property
    def label(self) -> str:
        """Name for a reader."""
        return TITLES[self.method]

    def step_at(self, context_tokens: int) -> int | None:
        """Return the step that reads a context of so many tokens, None beyond the table."""
        step = context_tokens - int(self.context[0])
        return step if 0 <= step < len(self.context) else None


@dataclass(frozen=True, slots=True)
class Clustering:
    """STARC's clustering at one context, beside the steps' own cost."""

    shape: Shape
    context_tokens: int
    artefact_cycles: int
    """Added to the last step of a decode that ends here, as the artefact injects it."""
    artefact_ns_per_step: float
    """The same over all steps of that decode."""
    artefact_pj_per_step: float
    windowed_ns_per_step: float | None
    """The method's own windows of 64 tokens, on the host, over the 64 steps between them."""
    windowed_pj_per_step: float | None
    remap_ns_per_step: float | None
    remap_pj_per_step: float | None


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that the report shows."""

    hardware: Hardware
    system: System
    tables: Sequence[RowTokens]
    series: Sequence[Series]
    clustering: Sequence[Clustering]
    simulated_points: int

    def of(self, shape: Shape, method: str) -> Series | None:
        """Return one method on one model, None where there is no table."""
        for one in self.series:
            if one.shape == shape and one.method == method:
                return one
        return None

    def shapes_without_tables(self) -> list[Shape]:
        """Return the models reported for full attention alone."""
        present = {table.shape for table in self.tables}
        return [shape for shape in SHAPES if shape not in present]


def run_study(
    tables: Sequence[RowTokens], hardware: Hardware, system: System, simulator: LayerSimulator
) -> Study:
    """Cost every step of every table, and of full attention for every shape."""
    steps = max(len(table.tokens) for table in tables)
    series = []
    for shape in SHAPES:
        own = [table for table in tables if table.shape == shape]
        whole = max((len(table.tokens) for table in own), default=steps)
        series.append(_series(hardware, system, simulator, shape, "full", whole, None))
        for table in own:
            length = len(table.tokens)
            series.append(
                _series(hardware, system, simulator, shape, table.method, length, table.tokens)
            )
    clustering = [
        one
        for each in series
        if each.method == "starc"
        for one in _clustering(hardware, system, simulator, each)
    ]
    return Study(hardware, system, tables, series, clustering, simulator.simulated)


def _series(
    hardware: Hardware,
    system: System,
    simulator: LayerSimulator,
    shape: Shape,
    method: str,
    steps: int,
    tokens: FloatArray | None,
) -> Series:
    context = system.prompt_tokens + 1 + np.arange(steps, dtype=np.int64)
    costs = simulator.steps(shape, context, tokens)
    scoring = overhead_cost(
        hardware,
        shape.head_dim,
        system.element_bytes,
        scored_vectors=scored_vectors(method, context, shape),
        scored_bytes=None,
        clustering_flops=None,
        moved_tokens=None,
    )
    assert scoring.scoring_ns is not None
    return Series(
        shape=shape,
        method=method,
        context=context,
        tokens=tokens,
        costs=costs,
        latency_ns=np.asarray(costs.cycles, dtype=np.float64) * hardware.t_ck_ns,
        artefact=artefact_energy(hardware, system, shape, context, costs),
        counted_pj=counted_energy(hardware, system, shape, costs).total_pj,
        scoring_ns=scoring.scoring_ns * _rounds(hardware, system, shape),
        scoring_pj=None if scoring.scoring_pj is None else scoring.scoring_pj * system.heads(shape),
    )


def scored_vectors(method: str, context: IntArray, shape: Shape) -> FloatArray:
    """Return the vectors of head_dim that a head multiplies to find its tokens, (steps,).

    STARC: the centroids of whole windows. Quest: a page's least and greatest components, two
    vectors. SparQ: `SPARQ_RANK` components of every key, stored so that they are read alone.
    """
    vectors = {
        "full": np.zeros(len(context)),
        "starc": context // STARC_WINDOW_TOKENS * float(STARC_CLUSTERS),
        "quest": 2.0 * -(-context // QUEST_PAGE_TOKENS),
        "sparq": np.ceil(context * SPARQ_RANK / shape.head_dim),
    }[method]
    return np.asarray(vectors, dtype=np.float64)


def _clustering(
    hardware: Hardware, system: System, simulator: LayerSimulator, series: Series
) -> Iterator[Clustering]:
    from pimreplay.clustering import flops

    shape, heads = series.shape, system.heads(series.shape)
    windowed = overhead_cost(
        hardware,
        shape.head_dim,
        system.element_bytes,
        scored_vectors=None,
        scored_bytes=None,
        clustering_flops=np.array(
            [
                heads
                * flops(STARC_WINDOW_TOKENS, STARC_CLUSTERS, shape.head_dim, STARC_ITERATIONS)
                / STARC_WINDOW_TOKENS
            ]
        ),
        moved_tokens=np.array([1.0]),  # 64 tokens of each head every 64 steps
    )
    rounds = _rounds(hardware, system, shape)
    for tokens in CONTEXTS:
        step = series.step_at(tokens)
        if step is None:
            continue
        rows = int(series.costs.block_rows[step])
        plain = simulator.layer(shape, tokens, rows)
        clustered = simulator.layer(shape, tokens, rows, cluster=True)
        extra = minus(clustered, plain)
        nothing_scored = np.zeros(1, dtype=np.int64)
        energy = artefact_energy(hardware, system, shape, nothing_scored, as_steps(rows, extra))
        steps = step + 1
        yield Clustering(
            shape,
            tokens,
            extra.cycles,
            extra.cycles * hardware.t_ck_ns / steps,
            float(energy.memory_pj[0]) / steps,
            _first(windowed.clustering_ns),
            _first(windowed.clustering_pj),
            _first(windowed.remap_ns, rounds),
            _first(windowed.remap_pj, heads),
        )


def as_steps(block_rows: int, run: LayerRun) -> StepCosts:
    """Return one run as the costs of one step."""
    counts = (np.array([getattr(run, name)]) for name in LayerRun.__slots__)
    return StepCosts(np.array([block_rows]), *counts)


def minus(left: LayerRun, right: LayerRun) -> LayerRun:
    """Return what `left` has more than `right`."""
    return replace(
        left,
        **{name: getattr(left, name) - getattr(right, name) for name in LayerRun.__slots__},
    )


def _first(values: FloatArray | None, times: float = 1.0) -> float | None:
    return None if values is None else float(values[0]) * times


def _rounds(hardware: Hardware, system: System, shape: Shape) -> int:
    """Heads that a channel serves one after the other."""
    return -(-system.heads_per_stack(shape) // hardware.organisation.channels)


def steps_frame(study: Study) -> pl.DataFrame:
    """Return every step of every series, units in the names; for CSV."""
    return pl.concat([series_frame(series) for series in study.series])


def series_frame(series: Series) -> pl.DataFrame:
    """Return one series as a table, a row a step."""
    count = len(series.context)
    return pl.DataFrame(
        {
            "model": [series.shape.name] * count,
            "method": [series.method] * count,
            "step": np.arange(count),
            "context_tokens": series.context,
            "table_tokens": series.tokens if series.tokens is not None else [None] * count,
            "block_rows": series.costs.block_rows,
            "cycles": series.costs.cycles,
            "latency_ns": series.latency_ns,
            "artefact_memory_pj": series.artefact.memory_pj,
            "artefact_compute_pj": series.artefact.compute_pj,
            "energy_pj": series.counted_pj if series.counted_pj is not None else [None] * count,
            "scoring_ns": series.scoring_ns,
            "scoring_pj": series.scoring_pj if series.scoring_pj is not None else [None] * count,
        },
        schema_overrides={
            "table_tokens": pl.Float64,
            "energy_pj": pl.Float64,
            "scoring_pj": pl.Float64,
        },
    )


def context_rows(study: Study) -> pl.DataFrame:
    """Return one row a model, method and context: the step that reads it, and the decode up to it.

    A context beyond a table gives a row of nulls.
    """
    rows = []
    for series in study.series:
        full, sparq = study.of(series.shape, "full"), study.of(series.shape, "sparq")
        for tokens in CONTEXTS:
            step = series.step_at(tokens)
            row: dict[str, object] = {
                "model": series.shape.title,
                "method": series.method,
                "context_tokens": tokens,
            }
            if step is not None:
                row |= _context_row(series, step, full, sparq)
                row |= _overheads(study, series, tokens, step)
            rows.append(row)
    return pl.DataFrame(rows, schema=_COLUMNS)


_COLUMNS: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "method": pl.String,
    "context_tokens": pl.Int64,
    "step": pl.Int64,
    "effective_tokens": pl.Int64,
    "cycles": pl.Int64,
    "latency_ns": pl.Float64,
    "latency_vs_full_ratio": pl.Float64,
    "latency_vs_sparq_ratio": pl.Float64,
    "mean_cycles": pl.Float64,
    "mean_latency_ns": pl.Float64,
    "mean_latency_vs_full_ratio": pl.Float64,
    "mean_latency_vs_sparq_ratio": pl.Float64,
    "artefact_energy_pj": pl.Float64,
    "artefact_energy_vs_full_ratio": pl.Float64,
    "artefact_energy_vs_sparq_ratio": pl.Float64,
    "mean_artefact_energy_pj": pl.Float64,
    "mean_artefact_energy_vs_full_ratio": pl.Float64,
    "mean_artefact_energy_vs_sparq_ratio": pl.Float64,
    "artefact_memory_pj": pl.Float64,
    "artefact_memory_vs_full_ratio": pl.Float64,
    "artefact_memory_vs_sparq_ratio": pl.Float64,
    "mean_artefact_memory_pj": pl.Float64,
    "mean_artefact_memory_vs_full_ratio": pl.Float64,
    "mean_artefact_memory_vs_sparq_ratio": pl.Float64,
    "energy_pj": pl.Float64,
    "energy_vs_full_ratio": pl.Float64,
    "energy_vs_sparq_ratio": pl.Float64,
    "mean_energy_pj": pl.Float64,
    "mean_energy_vs_full_ratio": pl.Float64,
    "mean_energy_vs_sparq_ratio": pl.Float64,
    "scoring_ns": pl.Float64,
    "scoring_pj": pl.Float64,
    "artefact_clustering_cycles": pl.Int64,
    "artefact_clustering_ns_per_step": pl.Float64,
    "artefact_clustering_pj_per_step": pl.Float64,
    "windowed_clustering_ns_per_step": pl.Float64,
    "windowed_clustering_pj_per_step": pl.Float64,
    "remap_ns_per_step": pl.Float64,
    "remap_pj_per_step": pl.Float64,
}


def _context_row(
    series: Series, step: int, full: Series | None, sparq: Series | None
) -> dict[str, object]:
    row: dict[str, object] = {
        "step": step,
        "effective_tokens": 16 * int(series.costs.block_rows[step]),
        "cycles": int(series.costs.cycles[step]),
        "mean_cycles": float(series.costs.cycles[: step + 1].mean()),
        "scoring_ns": float(series.scoring_ns[step]),
        "scoring_pj": None if series.scoring_pj is None else float(series.scoring_pj[step]),
    }
    for name, unit, values in quantities(series):
        row[f"{name}{unit}"] = float(values[step])
        row[f"mean_{name}{unit}"] = float(values[: step + 1].mean())
        for other in (full, sparq):
            if other is None or other is series or series.method == "full":
                continue
            if step >= len(other.context):
                continue
            base = next(found for what, _, found in quantities(other) if what == name)
            versus = f"{name}_vs_{other.method}_ratio"
            row[versus] = float(values[step] / base[step])
            row[f"mean_{versus}"] = float(values[: step + 1].sum() / base[: step + 1].sum())
    return row


def quantities(series: Series) -> Iterator[tuple[str, str, FloatArray]]:
    """Yield the name, the unit and the values of latency and of both energies, where known."""
    yield "latency", "_ns", series.latency_ns
    yield "artefact_energy", "_pj", series.artefact.total_pj
    yield "artefact_memory", "_pj", series.artefact.memory_pj
    if series.counted_pj is not None:
        yield "energy", "_pj", series.counted_pj


def _overheads(study: Study, series: Series, tokens: int, step: int) -> dict[str, object]:
    if series.method != "starc":
        return {}
    for one in study.clustering:
        if one.shape == series.shape and one.context_tokens == tokens:
            return {
                "artefact_clustering_cycles": one.artefact_cycles,
                "artefact_clustering_ns_per_step": one.artefact_ns_per_step,
                "artefact_clustering_pj_per_step": one.artefact_pj_per_step,
                "windowed_clustering_ns_per_step": one.windowed_ns_per_step,
                "windowed_clustering_pj_per_step": one.windowed_pj_per_step,
                "remap_ns_per_step": one.remap_ns_per_step,
                "remap_pj_per_step": one.remap_pj_per_step,
            }
    return {}


def statistics(study: Study) -> pl.DataFrame:
    """Return what each table holds: steps, tokens, over-fetch, and how often it was cut."""
    rows = []
    for series in study.series:
        if series.tokens is None:
            continue
        effective = series.costs.block_rows * 16
        rows.append(
            {
                "model": series.shape.title,
                "method": series.method,
                "steps": len(series.tokens),
                "mean_tokens": float(series.tokens.mean()),
                "min_tokens": float(series.tokens.min()),
                "max_tokens": float(series.tokens.max()),
                "mean_effective_tokens": float(effective.mean()),
                "overfetch_ratio": float(series.tokens.mean() / BUDGET_TOKENS),
                "distinct_block_rows": len(np.unique(series.costs.block_rows)),
                "steps_cut_to_context": int((series.tokens > series.context).sum()),
            }
        )
    return pl.DataFrame(rows)
