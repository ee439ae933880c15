"""Replay one KV head: policy, layout and device, all decode steps at once.

The unit of work is one (layer, kv_head). A job is one policy on one unit, with every budget,
layout and device asked for: the head is read once, a selection made once per budget, its blocks
found once per layout and block size, and only the cost is computed for each device.
"""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pimreplay.mappings import mapping_of
from pimreplay.placement.blocks import channels_of
from pimreplay.records import KvHeadTrace, Selection
from pimreplay.replay.chain import Blocks, Placed, dense_selection, find_blocks, select
from pimreplay.replay.settings import Settings
from pimreplay.selection.masks import count_true, packed, union
from pimreplay.selection.quantisation import as_stored
from pimreplay.selection.recall import ExactAttention, Recall, seen_tokens
from tracegen.base.errors import UserError
from tracegen.trace.schema import Manifest
from tracegen.trace.store import Trace, as_float32

if TYPE_CHECKING:
    from pimreplay.hardware.device import Device

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Target:
    """One layout on one device, for one budget of a job; `point` says whose result it is."""

    point: int
    layout: str
    placer: Any
    hardware: "Device"


@dataclass(frozen=True, slots=True)
class Job:
    """One policy on one (layer, kv_head) of a trace."""

    trace_path: str
    trace_hash: str
    layer: int
    kv_head: int
    selector: Any
    budgets: tuple[tuple[Any, tuple[Target, ...]], ...]
    """Each budget with the targets that want it."""
    settings: Settings
    keep_selections: bool = False
    tries: int = 0
    """Workers that died of it."""

    @property
    def points(self) -> tuple[int, ...]:
        """Return the points that this job works for."""
        return tuple(target.point for _, targets in self.budgets for target in targets)


@dataclass(frozen=True, slots=True)
class HeadResult:
    """What one point measured on one (layer, kv_head)."""

    point: int
    layer: int
    kv_head: int
    dense_layer: bool
    values: dict[str, Array | None]
    """Columns of `pimreplay.results.schema.STEP_VALUES`, each (steps,); None: unknown."""
    lane_tokens: Array
    """Selected tokens by channel and lane, (steps, channels * lanes) int32; one channel where the
    KV head lies in one."""
    channel_cycles: Array
    """Cycles in each channel that holds a share of the head, (channels, steps) int64."""
    hidden_cycles: Array
    """Those of them that another head of the same channel can hide, (channels, steps) int64."""
    selected: Array | None = None
    """Packed selection, (q_heads, steps, bytes) uint8; None: not kept."""
    blocks: Array | None = None
    """Packed touched blocks, (q_heads, steps, bytes) uint8; None: not kept."""


@dataclass(frozen=True, slots=True)
class HeadFailure:
    """Why one point could not be measured on one (layer, kv_head)."""

    point: int
    layer: int
    kv_head: int
    error: str
    bad_input: bool = False
    """Whether the user can mend it: a trace that lacks something, a budget that does not fit."""

    @property
    def sentence(self) -> str:
        """The error with its place, unless it names that itself."""
        if f"layer {self.layer}" in self.error:
            return self.error
        return f"layer {self.layer}, kv_head {self.kv_head}: {self.error}"


def replay_head(job: Job) -> Iterator[HeadResult | HeadFailure]:
    """Do one job; a budget or a device that cannot be done leaves the others untouched.

    Raises:
        UserError: the trace cannot be read.
    """
    head, exact = _head(job.trace_path, job.trace_hash, job.layer, job.kv_head, job.settings)
    dense_layer = job.layer < job.settings.dense_layers
    selected: list[tuple[Selection, tuple[Target, ...]]] = []
    if dense_layer:
        everyone = tuple(target for _, targets in job.budgets for target in targets)
        selected.append((dense_selection(head), everyone))
    for budget, targets in job.budgets if not dense_layer else ():
        try:
            own = budget.of(job.layer, job.kv_head)
            selected.append((select(head, job.selector, own), targets))
        except Exception as error:
            yield from (_failure(one.point, job, error) for one in targets)
    recalls = exact.recall_all([(one.mask, one.output) for one, _ in selected])
    for (selection, targets), recall in zip(selected, recalls, strict=True):
        shared = _SharedSelection(head, selection, recall, job.keep_selections)
        # in a dense layer all budgets select the same, so a layout on a device is done once
        done: dict[tuple[str, int], HeadResult] = {}
        for target in targets:
            where = (target.layout, id(target.hardware))
            try:
                if where not in done:
                    done[where] = shared.result(target, job, dense_layer)
                yield replace(done[where], point=target.point)
            except Exception as error:
                yield _failure(target.point, job, error)


def answer(job: Job) -> list[HeadResult | HeadFailure]:
    """Do one job in a worker: nothing is raised, a trace that cannot be read fails every point."""
    try:
        return list(replay_head(job))
    except Exception as error:
        return [_failure(point, job, error) for point in job.points]


def _failure(point: int, job: Job, error: Exception) -> HeadFailure:
    """Return what the user reads of a failure: our own errors as they are, others with a place."""
    if isinstance(error, UserError):
        return HeadFailure(point, job.layer, job.kv_head, str(error), bad_input=True)
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = (str(error).splitlines() or ["no message"])[0]
    text = f"{type(error).__name__}: {reason} ({Path(place.filename).name}, line {place.lineno})"
    return HeadFailure(point, job.layer, job.kv_head, text)


def read_kv_head(trace: Trace, layer: int, kv_head: int, settings: Settings) -> KvHeadTrace:
    """Read one (layer, kv_head) of a trace into float32 tensors."""
    manifest = trace.manifest
    index = manifest.layers.index(layer)
    prompt_query = trace.prompt_query(layer, kv_head)
    attention = trace.prompt_attention(layer, kv_head)

    def tensor(values: Array) -> Tensor:
        vectors = as_float32(values)
        # arrays of a file are read-only, which torch does not know
        return torch.from_numpy(vectors if vectors.flags.writeable else vectors.copy()).to(
            settings.device
        )

    return KvHeadTrace(
        layer=layer,
        kv_head=kv_head,
        query=tensor(trace.query(layer, kv_head)),
        key=tensor(trace.key(layer, kv_head)),
        value=tensor(trace.value(layer, kv_head)),
        prompt_tokens=manifest.prompt_tokens,
        softmax_scale=manifest.softmax_scale[index],
        soft_cap=manifest.soft_cap,
        sliding_window=manifest.sliding_window[index],
        prompt_query=None if prompt_query is None else tensor(prompt_query),
        prompt_attention=None if attention is None else tensor(attention[0]),
        prompt_attention_decayed=None if attention is None else tensor(attention[1]),
        sink_logit=_sinks(manifest, index, kv_head, settings.device),
        seed=settings.seed,
        kv_bits=settings.kv_bits,
    )


def _sinks(manifest: Manifest, index: int, kv_head: int, device: str) -> Tensor | None:
    """Return the sink logits of a KV head's query heads, (q_heads,); None: there are none."""
    if not manifest.sink_logit:
        return None
    first = kv_head * manifest.group
    return torch.tensor(manifest.sink_logit[index][first : first + manifest.group], device=device)


def read_stored(
    trace: Trace, layer: int, kv_head: int, settings: Settings
) -> tuple[KvHeadTrace, KvHeadTrace]:
    """Return one (layer, kv_head) as it was captured, and as the device stores it.

    Policies choose by what is stored, and what they keep is measured against what was captured.
    """
    captured = read_kv_head(trace, layer, kv_head, settings)
    return captured, as_stored(captured, settings.kv_quantisation)


@lru_cache(maxsize=4)
def _trace(path: str, trace_hash: str) -> Trace:
    """Open a trace once a process: it compares each file's checksum when it is first read."""
    trace = Trace.open(path)
    if trace.hash != trace_hash:
        raise UserError(f"{path}: the trace changed while it was replayed; replay again")
    return trace


@lru_cache(maxsize=1)
def _head(
    path: str, trace_hash: str, layer: int, kv_head: int, settings: Settings
) -> tuple[KvHeadTrace, ExactAttention]:
    """Read a KV head once for all jobs that a worker does on it in a row."""
    captured, stored = read_stored(_trace(path, trace_hash), layer, kv_head, settings)
    return stored, ExactAttention(captured, stored)


class _SharedSelection:
    """One selection for all its targets; regions are laid out once per layout and block size."""

    def __init__(self, head: KvHeadTrace, selection: Selection, recall: Recall, keep: bool) -> None:
        self._head = head
        self._selection = selection
        self._recall = recall
        mask = selection.mask
        self._union = union(mask)
        self._selected = count_true(mask).double().mean(dim=0).cpu().numpy()
        self._union_tokens = count_true(self._union).cpu().numpy()
        self._seen_tokens = count_true(seen_tokens(head)).cpu().numpy()
        self._packed = packed(mask) if keep else None
        self._keep = keep
        self._found: dict[tuple[str, int, int], _Region] = {}

    def _region(self, target: Target, block_tokens: int) -> "_Region":
        spread = channels_of(target.placer.heads, target.hardware.channels)
        key = (target.layout, block_tokens, spread)
        if key not in self._found:
            blocks = find_blocks(self._head, self._selection, target.placer, block_tokens)
            self._found[key] = _Region(
                blocks=blocks,
                q_head_blocks=count_true(blocks.touched).double().mean(dim=0).cpu().numpy(),
                lane_tokens=_lane_tokens(self._union, blocks.placement, spread * block_tokens),
                packed=packed(blocks.touched) if self._keep else None,
            )
        return self._found[key]

    def result(self, target: Target, job: Job, dense_layer: bool) -> HeadResult:
        head, recall, hardware = self._head, self._recall, target.hardware
        mapping = mapping_of(hardware, head.head_dim, job.settings.kv_bits)
        regions = [self._region(target, one.block_tokens) for one in (mapping.keys, mapping.values)]
        keys = regions[0]
        placed = Placed(mapping, *(one.blocks for one in regions))
        cost = placed.cost(job.settings.fidelity)
        block_tokens = mapping.keys.block_tokens
        # tokens read, for each query head and for all of them: the mean of keys and of values
        sizes = (mapping.keys.block_tokens, mapping.values.block_tokens)
        fetched = _mean_tokens(sizes, [one.q_head_blocks for one in regions])
        counts = [count_true(one.blocks.read).cpu().numpy() for one in regions]
        read = _mean_tokens(sizes, counts)
        wasted = max(int(one.blocks.placement.wasted_slots) for one in regions)
        values: dict[str, Array | None] = {
            "visible_tokens": head.visible.cpu().numpy(),
            "selected_tokens": self._selected,
            "union_tokens": self._union_tokens,
            "q_head_blocks": keys.q_head_blocks,
            "blocks": counts[0],
            "value_blocks": counts[1],
            "dense_blocks": -(-self._seen_tokens // block_tokens),
            "wasted_slots": np.full(head.steps, wasted, dtype=np.int64),
            "lane_utilisation_ratio": _ratio(self._union_tokens, read),
            "overfetch_ratio": _ratio(fetched, self._selected),
            "attention_mass_ratio": recall.attention_mass_ratio,
            "topk_overlap_ratio": recall.topk_overlap_ratio,
            "output_error_ratio": recall.output_error_ratio,
            **cost.total.columns(hardware.t_ck_ns),
            **self._overhead_columns(placed),
        }
        return HeadResult(
            point=target.point,
            layer=head.layer,
            kv_head=head.kv_head,
            dense_layer=dense_layer,
            values=values,
            lane_tokens=keys.lane_tokens,
            channel_cycles=cost.channel_cycles,
            hidden_cycles=cost.hidden_cycles,
            selected=self._packed,
            blocks=keys.packed,
        )

    def _overhead_columns(self, placed: Placed) -> dict[str, Array | None]:
        overhead = self._selection.overhead
        moved = _array(overhead.moved_tokens)
        if moved is not None:
            moved = moved + placed.moved_tokens.cpu().numpy()
        cost = placed.mapping.overheads(
            scored_vectors=_array(overhead.scored_vectors),
            scored_bytes=_array(overhead.scored_bytes),
            clustering_flops=_array(overhead.clustering_flops),
            moved_tokens=moved,
        )
        return {
            **cost.columns(),
            "remapped_tokens": moved,
            "clustered_tokens": _array(overhead.clustered_tokens),
        }


@dataclass(frozen=True, slots=True)
class _Region:
    blocks: Blocks
    q_head_blocks: Array
    lane_tokens: Array
    packed: Array | None


def _lane_tokens(union: Tensor, placement: Any, lane_count: int) -> Array:
    """Return how many selected tokens each lane of each channel holds: (steps, lanes) int32.

    Block b of a spread head lies in channel b mod channels, so slots go round the lanes of all
    its channels in order. Counted as a product with the lanes' indicator: float32 counts whole
    numbers exactly up to 2^24.
    """
    counts = torch.zeros(union.shape[0], lane_count, device=union.device)
    lanes = torch.arange(lane_count, device=union.device)
    for epoch in torch.unique(placement.epoch_of_step).tolist():
        steps = placement.epoch_of_step == epoch
        lane = placement.slot[epoch].to(union.device) % lane_count
        indicator = (lane[:, None] == lanes[None, :]).float()  # (tokens, lanes)
        counts[steps] = union[steps].float() @ indicator
    found: Array = counts.to(torch.int32).cpu().numpy()
    return found


def _mean_tokens(block_tokens: Sequence[int], blocks: Sequence[Array]) -> Array:
    """Return the tokens that blocks hold, the mean of keys and of values: (steps,)."""
    found: Array = np.mean([n * one for n, one in zip(block_tokens, blocks, strict=True)], axis=0)
    return found


def _array(values: Tensor | None) -> Array | None:
    if values is None:
        return None
    found: Array = values.double().cpu().numpy()
    return found


def _ratio(above: Array, below: Array) -> Array:
    """Divide; where nothing was read there is nothing wasted either."""
    ones = np.ones(len(above))
    divided: Array = np.divide(above, below, out=ones, where=np.asarray(below) > 0)
    return divided


def selections(
    trace: Trace, layers: Sequence[int], selector: Any, budget: Any, settings: Settings
) -> dict[int, Array]:
    """Return a policy's packed selection of each layer, its q heads in order.

    The policy itself, with no exception for dense layers: (q_heads, steps, bytes) uint8 each.
    """
    found = {}
    for layer in layers:
        parts = []
        for kv_head in range(trace.manifest.kv_heads):
            _, head = read_stored(trace, layer, kv_head, settings)
            parts.append(packed(select(head, selector, budget.of(layer, kv_head)).mask))
        found[layer] = np.concatenate(parts)
    return found
