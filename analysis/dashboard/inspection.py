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

from analysis.results.hardware import hardware_of
from pimreplay.results.reader import Results
from tracegen.base.errors import UserError
from tracegen.base.location import is_url

if TYPE_CHECKING:
    from pimreplay.hardware.device import Geometry
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
    """Blocks that this query head touches, (n_blocks,) bool."""
    group_blocks: np.ndarray
    """Blocks that any query head of the group touches, (n_blocks,) bool."""
    key_blocks_per_row: int
    dense_layer: bool
    """The run read every token of this layer, whatever the policy."""

    @property
    def mass_kept_ratio(self) -> float:
        """Attention weight on the selected tokens."""
        return float(self.weight[self.selected].sum())

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


def _geometry(run: Results, hardware: str, head_dim: int) -> "Geometry":
    """Return where tokens lie on a device as the run recorded it.

    The device's file may have been anywhere, and may have changed since.

    Raises:
        UserError: the run did not record it.
    """
    from pimreplay.hardware.reading import checked

    values = hardware_of([run]).get(hardware, {}).get("values")
    if not isinstance(values, dict):
        raise UserError(
            f"{run.path}/run.json: records no values of {hardware}; replay again to see single"
            " steps"
        )
    kv_bits = int(run.config.get("configuration", {}).get("kv_bits", 16))
    return checked(Path(f"{hardware}.toml"), values).geometry(head_dim, kv_bits)


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
    """Recompute one step of a configuration; numbers beyond the trace are brought inside it.

    `described` is the configuration's row of `Table.configurations`.

    Raises:
        UserError: the trace is gone or was changed, or the policy is not known here.
    """
    path, trace_hash = trace_path(run, described["trace"])
    settings = run.config.get("configuration", {})
    dense_layer = layer < int(settings.get("dense_layers", 0))
    policy = described["policy"]
    if described["policy_parameters"]:
        policy = f"{policy}:{described['policy_parameters']}"
    recorded = next(one for one in run.config["traces"] if one["name"] == described["trace"])
    sizes = recorded["head_dim"]  # one for all layers, or one a layer
    if isinstance(sizes, list):
        sizes = dict(zip(recorded["layers"], sizes, strict=True)).get(layer, sizes[0])
    geometry = _geometry(run, described["hardware"], int(sizes))
    computed = _computed(
        path,
        trace_hash,
        "dense" if dense_layer else policy,
        "sequential" if dense_layer else described["layout"],
        geometry,
        "1.0" if dense_layer else str(_budget(run, described["budget"]).of(layer, kv_head)),
        layer,
        kv_head,
        int(settings.get("seed", 0)),
    )
    head, placed = computed.head, computed.placed
    step = min(max(step, 0), head.steps - 1)
    q_head = min(max(q_head, 0), head.q_heads - 1)
    visible = int(head.visible[step])
    epoch = int(placed.placement.epoch_of_step[step])
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
        slot=placed.placement.slot[epoch, :visible].numpy(),
        block_tokens=geometry.block_tokens,
        blocks=placed.touched[q_head, step].numpy(),
        group_blocks=placed.read[step].numpy(),
        key_blocks_per_row=geometry.key_blocks_per_row,
        dense_layer=dense_layer,
    )


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
    text: tuple[str, ...]
    mask: np.ndarray
    placed: "Placed"


@lru_cache(maxsize=6)
def _computed(
    path: str,
    trace_hash: str,
    policy: str,
    layout: str,
    geometry: "Geometry",
    budget: str,
    layer: int,
    kv_head: int,
    seed: int,
) -> _Computed:
    from pimreplay.replay.chain import place, select
    from pimreplay.replay.kv_head import read_kv_head
    from pimreplay.replay.method import method
    from pimreplay.replay.settings import Settings
    from pimreplay.selection.budget import Budget
    from tracegen.trace.store import Trace

    trace = Trace.open(path)
    if trace.hash != trace_hash:
        raise UserError(
            f"{path}: holds another trace than the run replayed; replay it to see single steps"
        )
    settings = Settings(seed=seed, kv_bits=geometry.kv_bits)
    head = read_kv_head(trace, layer, kv_head, settings)
    chosen = method(policy, layout)
    selection = select(head, chosen.selector, Budget.parse(budget))
    texts = trace.tokens()["text"].to_list()
    return _Computed(
        head=head,
        text=tuple("" if one is None else str(one) for one in texts),
        mask=selection.mask.numpy(),
        placed=place(head, selection, chosen.placer, geometry),
    )
