"""What one attention layer of one decode step costs in the artefact's model: cycles and commands.

The artefact simulates a stack whose channels hold a head each, with the block rows of a step
packed one after the other. Up to 16 heads a stack, the cycles depend on the number of block rows
alone: every channel does the same at the same time, so one channel is simulated and each distinct
number of block rows once. Source: EPIC-RPI/STARC @ 30d4ce9,
`simulator_starc/src/ramulator_wrapper.py` and `trace_gen/gen_trace_attacc_bank.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.starc.shapes import Shape, System
from pimreplay.attacc.layer_commands import attention_requests
from pimreplay.attacc.shape import AttentionShape
from pimreplay.bank_model.scheduler import Scheduler
from pimreplay.hardware.device import Hardware

ROW_TOKENS = 16
"""Tokens of a block row: the artefact's `row_size`."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LayerRun:
    """One simulated stack: cycles, and commands summed over its channels."""

    cycles: int
    macs: int
    softmaxes: int
    gemv_moves: int
    softmax_moves: int
    query_writes: int
    row_activations: int
    """Rows opened, in banks; those that refresh closed counted again."""

    def times(self, heads: int) -> "LayerRun":
        """Return the run of a stack of `heads` channels that all do what this one does."""
        return LayerRun(
            self.cycles,
            self.macs * heads,
            self.softmaxes * heads,
            self.gemv_moves * heads,
            self.softmax_moves * heads,
            self.query_writes * heads,
            self.row_activations * heads,
        )


@dataclass(frozen=True, slots=True)
class Point:
    """What is simulated: tokens are those of the context, block rows those that are read."""

    heads: int
    head_dim: int
    context_tokens: int
    block_rows: int | None
    """None: all of the context."""
    cluster: bool = False


Simulate = Callable[[Point], LayerRun]


def simulate_on(hardware: Hardware, element_bytes: int) -> Simulate:
    """Return the cycle-accurate simulation of a point on a device."""

    def simulate(point: Point) -> LayerRun:
        rows = point.block_rows
        shape = AttentionShape(
            head_dim=point.head_dim,
            heads=point.heads,
            tokens=point.context_tokens,
            element_bytes=element_bytes,
            kv_budget=0 if rows is None else rows * ROW_TOKENS,
            cluster_step=point.cluster,
        )
        scheduler = Scheduler(hardware.organisation, hardware.timing, refresh=hardware.refresh)
        scheduler.feed(attention_requests(hardware, shape))
        outcome = scheduler.finish()
        counts = {field: outcome.requests.get(name, 0) for field, name in _REQUESTS.items()}
        return LayerRun(cycles=outcome.cycles, row_activations=outcome.row_activations, **counts)

    return simulate


_REQUESTS = {
    "macs": "pim_mac_all_bank",
    "softmaxes": "pim_softmax",
    "gemv_moves": "pim_move_to_gemv_buffer",
    "softmax_moves": "pim_move_to_softmax_buffer",
    "query_writes": "pim_write_to_gemv_buffer",
}
"""Requests of an outcome, by the field of `LayerRun` that counts them."""


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Cost of one layer on one stack at each step; every array is (steps,)."""

    block_rows: IntArray
    cycles: IntArray
    macs: IntArray
    softmaxes: IntArray
    gemv_moves: IntArray
    softmax_moves: IntArray
    query_writes: IntArray
    row_activations: IntArray


class LayerSimulator:
    """Simulates each distinct point once and remembers it."""

    def __init__(self, system: System, channels: int, simulate: Simulate) -> None:
        self.system = system
        self.channels = channels
        self._simulate = simulate
        self._known: dict[Point, LayerRun] = {}

    @property
    def simulated(self) -> int:
        """Points simulated so far."""
        return len(self._known)

    def layer(
        self, shape: Shape, context_tokens: int, block_rows: int | None, cluster: bool = False
    ) -> LayerRun:
        """Return the run of one layer at one context length."""
        heads = self.system.heads_per_stack(shape)
        if heads > self.channels:  # rounds overlap: nothing can be shared
            return self._run(Point(heads, shape.head_dim, context_tokens, block_rows, cluster))
        if block_rows is None:
            block_rows = block_rows_of(context_tokens)
        if not cluster:
            context_tokens = block_rows * ROW_TOKENS
        return self._run(Point(1, shape.head_dim, context_tokens, block_rows, cluster)).times(heads)

    def steps(
        self, shape: Shape, context: IntArray, tokens: NDArray[np.float64] | None
    ) -> StepCosts:
        """Return the cost of each step, (steps,).

        Args:
            shape: Model.
            context: Tokens in the cache at each step, (steps,).
            tokens: The table, 16 x block rows touched, (steps,); None: dense.
        """
        rows = touched_rows(context, tokens)
        shared = self.system.heads_per_stack(shape) <= self.channels
        keys = rows if shared else np.arange(len(rows))
        distinct, inverse = np.unique(keys, return_inverse=True)
        runs = []
        for key in distinct.tolist():
            if shared:
                runs.append(self.layer(shape, key * ROW_TOKENS, key))
            else:
                dense = tokens is None
                runs.append(self.layer(shape, int(context[key]), None if dense else int(rows[key])))

        def each(field: str) -> IntArray:
            values: IntArray = np.array([getattr(run, field) for run in runs])[inverse]
            return values

        return StepCosts(rows, *(each(name) for name in LayerRun.__slots__))

    def _run(self, point: Point) -> LayerRun:
        if point not in self._known:
            self._known[point] = self._simulate(point)
        return self._known[point]


def block_rows_of(tokens: int) -> int:
    """Return the block rows that so many tokens fill."""
    return -(-tokens // ROW_TOKENS)


def touched_rows(context: IntArray, tokens: NDArray[np.float64] | None) -> IntArray:
    """Return the block rows read at each step: those of the table, at most the whole context."""
    whole: IntArray = -(-context // ROW_TOKENS)
    if tokens is None:
        return whole
    rows: IntArray = np.minimum(np.ceil(tokens / ROW_TOKENS).astype(np.int64), whole)
    return rows
