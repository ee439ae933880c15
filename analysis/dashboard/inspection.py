"""What one query head read at one step: recomputed from the trace that a run recorded.

A results folder holds counts, not selections, so the policy is run again, with the recorded
parameters, on the one KV head that is looked at; the last few are kept in memory.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analysis.results.hardware import mapping_in
from pimreplay.results.reader import Results
from pimreplay.results.schema import CONFIGURATION, STEP_VALUES
from tracegen.base.errors import UserError, printable
from tracegen.base.location import is_url
from tracegen.base.numbers import write_ranges

if TYPE_CHECKING:
    from pimreplay.cost.mapping import Mapping
    from pimreplay.records import KvHeadTrace
    from pimreplay.replay.chain import Placed
    from pimreplay.selection.budget import Budget
    from pimreplay.selection.budget_schedule import BudgetSchedule

MISSED_SHOWN = 12
"""Most tokens named that were missed."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One step of one query head; arrays are over the visible tokens."""

    layer: int
    kv_head: int
    q_head: int
    """Within the group of the KV head."""
    step: int
    q_heads: int
    steps: int
    text: tuple[str, ...]
    selected: np.ndarray
    """(tokens,) bool."""
    weight: np.ndarray
    """Exact attention weight, (tokens,) float64."""
    slot: np.ndarray
    """Where each token lies, (tokens,) int64: lane = slot mod block_tokens."""
    block_tokens: int
    blocks: np.ndarray
    """Blocks of keys that this query head touches, (n_blocks,) bool."""
    group_blocks: np.ndarray
    """Blocks of keys that any query head of the group touches, (n_blocks,) bool."""
    key_blocks_per_row: int
    cluster: np.ndarray
    """Cluster of each token as the policy has it, -1 where it has none, (tokens,) int64."""
    costs: dict[str, Any]
    """What the results say that this step of the KV head cost: a row of `steps.parquet`."""
    usual: dict[str, Any]
    """The mean of each number of `costs` over all steps of the KV head; None where unknown."""
    dense_layer: bool
    """The run read every token of this layer, whatever the policy."""

    @property
    def mass_kept_ratio(self) -> float:
        """Attention weight on the selected tokens."""
        return float(self.weight[self.selected].sum())

    @property
    def read(self) -> np.ndarray:
        """Tokens whose block this query head touches, selected or not, (tokens,) bool."""
        return np.asarray(self.blocks[self.slot // self.block_tokens])

    @property
    def key_rows(self) -> list[int]:
        """DRAM rows of keys that the group opens."""
        return sorted(set((np.flatnonzero(self.group_blocks) // self.key_blocks_per_row).tolist()))

    def missed(self) -> list[tuple[int, float]]:
        """Return the heaviest tokens that were not selected, with their weights."""
        left = np.where(self.selected, 0.0, self.weight)
        order = np.argsort(-left, kind="stable")[:MISSED_SHOWN]
        return [(int(token), float(left[token])) for token in order if left[token] > 0]


def trace_path(run: Results, name: str) -> tuple[str, str]:
    """Return where the trace `name` of a run lies, and its hash.

    Raises:
        UserError: the run does not name it, or it is no longer there.
    """
    recorded = [one for one in run.config.get("traces", []) if one.get("name") == name]
    if not recorded:
        raise UserError(f"{run.path}/run.json: names no trace {name}; replay again")
    path = str(recorded[0].get("path"))
    place = path if is_url(path) else os.path.normpath(Path(run.path).absolute() / path)
    for one in (place, Path(path).name):
        if is_url(one) or (Path(one) / "manifest.json").is_file():
            return one, str(recorded[0].get("hash"))
    raise UserError(
        f"the trace {name} is not at {place} any more; put it back there, or replay it, to see"
        " single steps"
    )


def _budget(run: Results, text: str) -> "Budget | BudgetSchedule":
    """Return a budget as the run recorded it: a schedule's file may be gone."""
    from pimreplay.selection.budget import Budget
    from pimreplay.selection.budget_schedule import schedule_from

    for one in run.config.get("budget_schedules", []):
        if one["name"] == text:
            return schedule_from(one, text, f"{run.path}/run.json")
    return Budget.parse(text)


def inspect(
    run: Results, described: dict[str, Any], layer: int, kv_head: int, q_head: int, step: int
) -> Inspection:
    """Recompute one step of a configuration.

    `described` is the configuration's row of `Table.configurations`.

    Raises:
        UserError: the trace is gone or was changed, the policy is not known here, or the trace has
            no such layer, KV head, query head or step.
    """
    path, trace_hash = trace_path(run, described["trace"])
    settings = run.config.get("configuration", {})
    dense_layer = layer < int(settings.get("dense_layers", 0))
    policy = described["policy"]
    if described["policy_parameters"]:
        policy = f"{policy}:{described['policy_parameters']}"
    costs, usual = step_costs(run, described, layer, kv_head, step)
    mapping = mapping_in(run, described["hardware"], described["trace"], layer)
    computed = _computed(
        path,
        trace_hash,
        "dense" if dense_layer else policy,
        "sequential" if dense_layer else described["layout"],
        mapping,
        "1.0" if dense_layer else str(_budget(run, described["budget"]).of(layer, kv_head)),
        layer,
        kv_head,
        int(settings.get("seed", 0)),
        str(settings.get("kv_quantisation", "none")),
    )
    head, keys = computed.head, computed.placed.keys
    if q_head not in range(head.q_heads):
        raise UserError(f"query head {q_head} does not exist here; known: 0 to {head.q_heads - 1}")
    visible = int(head.visible[step])
    epoch = int(keys.placement.epoch_of_step[step])
    return Inspection(
        layer=layer,
        kv_head=kv_head,
        q_head=q_head,
        step=step,
        q_heads=head.q_heads,
        steps=head.steps,
        text=computed.text[:visible],
        selected=computed.mask[q_head, step, :visible],
        weight=exact_weights(head, q_head, step),
        slot=keys.placement.slot[epoch, :visible].numpy(),
        block_tokens=mapping.keys.block_tokens,
        blocks=keys.touched[q_head, step].numpy(),
        group_blocks=keys.read[step].numpy(),
        key_blocks_per_row=mapping.keys.blocks_per_row,
        cluster=computed.cluster[:visible],
        costs=costs,
        usual=usual,
        dense_layer=dense_layer,
    )


def step_costs(
    run: Results, described: dict[str, Any], layer: int, kv_head: int, step: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what one step of one KV head cost, and the mean over its steps.

    Both have the names of `STEP_VALUES`.

    Raises:
        UserError: the results hold no such layer, KV head or step.
    """
    own = [pl.col(name).cast(pl.String).fill_null("") == described[name] for name in CONFIGURATION]
    place = {"layer": layer, "kv_head": kv_head, "step": step}
    scan = run.tables["steps"].filter(*own)
    steps = scan.filter(layer=layer, kv_head=kv_head).select("step", *STEP_VALUES).collect()
    rows = steps.filter(step=step)
    if rows.is_empty():
        known = scan.select(*place).collect()
        layers, heads, numbers = (write_ranges(known[one].unique().to_list()) for one in place)
        there = f"layer {layers}; KV head {heads}; step {numbers}"
        raise UserError(
            f"the results hold no layer {layer}, KV head {kv_head}, step {step}; known: {there}"
        )
    means = steps.select(pl.col(list(STEP_VALUES)).mean())
    return rows.row(0, named=True), means.row(0, named=True)


def exact_weights(head: "KvHeadTrace", q_head: int, step: int) -> np.ndarray:
    """Return the softmax weights of exact attention, (visible tokens,) float64.

    A sink's share is left out: what the tokens get adds up to one, as where the mass is measured.
    """
    visible = int(head.visible[step])
    logits = head.logits((head.key[:visible] @ head.query[q_head, step]).double()).numpy()
    if head.sliding_window is not None:
        logits[: max(0, visible - head.sliding_window)] = -np.inf
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True, slots=True)
class _Computed:
    head: "KvHeadTrace"
    """As captured: what a selection is measured against."""
    text: tuple[str, ...]
    mask: np.ndarray
    cluster: np.ndarray
    placed: "Placed"


@lru_cache(maxsize=6)
def _computed(
    path: str,
    trace_hash: str,
    policy: str,
    layout: str,
    mapping: "Mapping",
    budget: str,
    layer: int,
    kv_head: int,
    seed: int,
    kv_quantisation: str,
) -> _Computed:
    from pimreplay.replay.chain import place, select
    from pimreplay.replay.kv_head import read_stored
    from pimreplay.replay.method import method
    from pimreplay.replay.settings import Settings
    from pimreplay.selection.budget import Budget
    from tracegen.trace.store import Trace

    trace = Trace.open(path)
    if trace.hash != trace_hash:
        raise UserError(
            f"{path}: holds another trace than the run replayed; replay it to see single steps"
        )
    settings = Settings(seed=seed, kv_bits=mapping.kv_bits, kv_quantisation=kv_quantisation)
    captured, stored = read_stored(trace, layer, kv_head, settings)
    chosen = method(policy, layout)
    selection = select(stored, chosen.selector, Budget.parse(budget))
    texts, groups = trace.tokens()["text"].to_list(), selection.groups
    return _Computed(
        head=captured,
        text=tuple("" if one is None else printable(one) for one in texts),
        mask=selection.mask.numpy(),
        cluster=np.full(captured.tokens, -1) if groups is None else groups.label.numpy(),
        placed=place(stored, selection, chosen.placer, mapping),
    )
