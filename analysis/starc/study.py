"""All steps of all tables: latency, energy and overheads of one attention layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.starc.accounting import ArtefactEnergy, artefact_energy, counted_energy
from analysis.starc.cost import IntArray, LayerRun, LayerSimulator, StepCosts
from analysis.starc.row_tokens import RowTokens
from analysis.starc.shapes import SHAPES, TITLES, Shape, System
from pimreplay.hardware.device import Hardware
from pimreplay.mappings.attacc import Attacc
from pimreplay.selection.kmeans_flops import flops

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
        series.append(series_of(hardware, system, simulator, shape, "full", whole, None))
        for table in own:
            length = len(table.tokens)
            series.append(
                series_of(hardware, system, simulator, shape, table.method, length, table.tokens)
            )
    clustering = [
        one
        for each in series
        if each.method == "starc"
        for one in _clustering(hardware, system, simulator, each)
    ]
    return Study(hardware, system, tables, series, clustering, simulator.simulated)


def series_of(
    hardware: Hardware,
    system: System,
    simulator: LayerSimulator,
    shape: Shape,
    method: str,
    steps: int,
    tokens: FloatArray | None,
) -> Series:
    """Return the cost of one method on one model; `tokens` None: full attention."""
    context = system.prompt_tokens + 1 + np.arange(steps, dtype=np.int64)
    costs = simulator.steps(shape, context, tokens)
    scoring = Attacc(hardware, shape.head_dim, system.kv_bits).overheads(
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
    shape, heads = series.shape, system.heads(series.shape)
    windowed = Attacc(hardware, shape.head_dim, system.kv_bits).overheads(
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


def quantities(series: Series) -> Iterator[tuple[str, str, FloatArray]]:
    """Yield the name, the unit and the values of latency and of both energies, where known."""
    yield "latency", "_ns", series.latency_ns
    yield "artefact_energy", "_pj", series.artefact.total_pj
    yield "artefact_memory", "_pj", series.artefact.memory_pj
    if series.counted_pj is not None:
        yield "energy", "_pj", series.counted_pj
