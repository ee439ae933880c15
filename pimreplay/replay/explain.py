"""Show one step of one KV head: which tokens, blocks and rows are read, and what that costs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from pimreplay.cost.mapping import Mapping
from pimreplay.cost.step_cost import StepCost
from pimreplay.mappings import load, mapping_of
from pimreplay.placement.blocks import over_channels
from pimreplay.records import KvHeadTrace
from pimreplay.replay.chain import Placed, place, select
from pimreplay.replay.kv_head import read_stored
from pimreplay.replay.method import Method, method
from pimreplay.replay.settings import Settings
from pimreplay.selection.budget_schedule import parse_budget
from pimreplay.selection.recall import ExactAttention, Recall
from tracegen.base.errors import UserError, printable
from tracegen.base.numbers import write_ranges
from tracegen.base.text_table import text_table
from tracegen.trace.store import Trace

TEXT_WIDTH = 48
COMMAND_RUNS = 16


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Which step to explain, as the user named it; None: the last, the usual one."""

    trace: str
    policy: str
    budget: str
    hardware: str
    layout: str | None = None
    layer: int | None = None
    kv_head: int = 0
    step: int | None = None
    rows: int = 32
    """Blocks to show."""
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step reads, laid out; blocks are those of the keys."""

    index: int
    mask: np.ndarray  # (q_heads, tokens) bool
    slot: np.ndarray  # (tokens,) where each token lies
    touched: np.ndarray  # (q_heads, n_blocks) bool
    value_touched: np.ndarray  # (q_heads, n_blocks of values) bool

    @classmethod
    def of(cls, index: int, mask: Any, placed: Placed) -> "_Step":
        placement = placed.keys.placement
        return cls(
            index=index,
            mask=mask[:, index].numpy(),
            slot=placement.slot[int(placement.epoch_of_step[index])].numpy(),
            touched=placed.keys.touched[:, index].numpy(),
            value_touched=placed.values.touched[:, index].numpy(),
        )


def explain_step(request: StepRequest) -> str:
    """Return the explanation as text.

    Raises:
        UserError: an unknown name, or a layer, KV head or step that the trace does not have.
    """
    settings = request.settings
    chosen = method(request.policy, request.layout)
    budget = parse_budget(request.budget)
    device = load(request.hardware)
    trace = Trace.open(request.trace)
    manifest = trace.manifest
    budget.check(manifest.tokens)
    layer = manifest.layers[-1] if request.layer is None else request.layer
    index = manifest.decode_steps - 1 if request.step is None else request.step
    _inside("--layer", layer, manifest.layers)
    _inside("--kv-head", request.kv_head, range(manifest.kv_heads))
    _inside("--step", index, range(manifest.decode_steps))

    captured, head = read_stored(trace, layer, request.kv_head, settings)
    selection = select(head, chosen.selector, budget.of(layer, request.kv_head))
    mapping = mapping_of(device, head.head_dim, settings.kv_bits)
    placed = place(head, selection, chosen.placer, mapping)
    step = _Step.of(index, selection.mask, placed)
    cost = placed.cost(settings.fidelity, slice(index, index + 1)).total
    recall = ExactAttention(captured, head).recall(selection.mask, selection.output)
    return "\n".join(
        [
            *_titles(request, trace, head, step, chosen, device.name),
            "",
            *_kept(recall, step),
            *_query_heads(step, manifest.group * request.kv_head, mapping),
            "",
            *_blocks(step, mapping, _texts(trace), request.rows),
            "",
            *_commands(step, placed, head.q_heads),
            "",
            *_costs(mapping, cost, head.q_heads),
        ]
    )


def _titles(
    request: StepRequest,
    trace: Trace,
    head: KvHeadTrace,
    step: _Step,
    chosen: Method,
    hardware: str,
) -> Iterator[str]:
    manifest, settings = trace.manifest, request.settings
    kind = " (SYNTHETIC: no model behind it)" if manifest.kind == "synthetic" else ""
    yield f"trace {request.trace}{kind}: {manifest.model}"
    yield (
        f"layer {head.layer}, KV head {head.kv_head}, step {step.index}:"
        f" {int(head.visible[step.index])} tokens visible, {head.q_heads} query heads"
    )
    yield f"policy {chosen.policy}" + (f" ({chosen.parameters})" if chosen.parameters else "")
    yield (
        f"layout {chosen.layout}, budget {request.budget}, hardware {hardware},"
        f" {settings.kv_bits} bits a KV element (quantisation: {settings.kv_quantisation}),"
        f" {settings.fidelity}"
    )


def _kept(recall: Recall, step: _Step) -> Iterator[str]:
    yield (
        f"attention mass kept {recall.attention_mass_ratio[step.index]:.4f},"
        f" overlap with exact top-k {recall.topk_overlap_ratio[step.index]:.4f},"
        f" output error {recall.output_error_ratio[step.index]:.4f} (means over the query heads)"
    )


def _inside(option: str, value: int, known: Any) -> None:
    if value not in known:
        raise UserError(f"{option} {value}: not in the trace; known: {min(known)} to {max(known)}")


def _texts(trace: Trace) -> list[str]:
    texts = trace.tokens()["text"].to_list()
    return ["" if text is None else printable(text) for text in texts]


def _query_heads(step: _Step, first: int, mapping: Mapping) -> list[str]:
    sizes = mapping.keys.block_tokens, mapping.values.block_tokens

    def row(name: str, mask: np.ndarray, keys: np.ndarray, values: np.ndarray) -> list[str]:
        tokens = int(mask.sum())
        read = (sizes[0] * keys.sum() + sizes[1] * values.sum()) / 2
        counts = [tokens, int(keys.sum()), *([int(values.sum())] if apart else [])]
        return [name, *map(str, counts), f"{read / max(1, tokens):.2f}"]

    apart = sizes[0] != sizes[1]
    touched = step.touched, step.value_touched
    parts = zip(step.mask, *touched, strict=True)
    rows = [row(str(first + index), *one) for index, one in enumerate(parts)]
    rows.append(row("union", *(np.asarray(one.any(0)) for one in (step.mask, *touched))))
    blocks = ["blocks of keys", "blocks of values"] if apart else ["blocks"]
    titles = ["query head", "tokens", *blocks, "tokens read per token wanted"]
    return text_table(titles, rows, right=range(len(titles)))


def _blocks(step: _Step, mapping: Mapping, texts: list[str], limit: int) -> list[str]:
    block_tokens, value_block = mapping.keys.block_tokens, mapping.values.block_tokens
    touched = np.flatnonzero(step.touched.any(axis=0))
    wanted = np.asarray(step.mask.any(axis=0))
    rows = []
    for block in touched[:limit]:
        inside = np.flatnonzero(step.slot // block_tokens == block)
        chosen = inside[wanted[inside]]
        lanes = ["."] * block_tokens
        for token in inside:
            lanes[int(step.slot[token]) % block_tokens] = "#" if wanted[token] else "-"
        text = " ".join(texts[token].strip() for token in chosen)
        text = " ".join(text.split())
        rows.append(
            [
                str(block),
                str(block // mapping.keys.blocks_per_row),
                str(block * block_tokens // value_block // mapping.values.blocks_per_row),
                "".join(lanes),
                _ranges(chosen),
                text[: TEXT_WIDTH - 1] + "…" if len(text) > TEXT_WIDTH else text,
            ]
        )
    titles = ["block", "key row", "value row", "lanes", "tokens wanted", "text"]
    lines = text_table(titles, rows, right=range(3))
    if len(touched) > limit:
        lines.append(f"... and {len(touched) - limit} blocks more (--rows)")
    lines.append("lanes: # wanted, - read for nothing, . empty or not yet written")
    return lines


def _commands(step: _Step, placed: Placed, q_heads: int) -> list[str]:
    """Return the command stream of the step, runs of one command folded; one channel's share."""
    mapping, spread = placed.mapping, placed.spread
    one = slice(step.index, step.index + 1)
    regions = [placed.readings(blocks, one)[:, 0] for blocks in (placed.keys, placed.values)]
    # (channels, readings, n_blocks) each
    shares = [over_channels(blocks, spread) for blocks in regions]
    busiest = int(shares[0].sum(axis=(1, 2)).argmax())
    sent = mapping.requests(shares[0][busiest], shares[1][busiest], q_heads)
    runs = [(word, [place for _, place in run]) for word, run in groupby(sent, lambda one: one[0])]
    rows = [[word, str(len(places)), places[0], places[-1]] for word, places in runs[:COMMAND_RUNS]]
    where = "address" if mapping.together else "place"
    titles = ["commands in order", "count", f"first {where}", f"last {where}"]
    lines = text_table(titles, rows, right=[1])
    if len(runs) > COMMAND_RUNS:
        lines.append(f"... and {len(runs) - COMMAND_RUNS} runs more")
    if spread > 1:
        lines.append(f"of channel {busiest}, the busiest of the {spread} that share this KV head")
    return lines


def _costs(mapping: Mapping, cost: StepCost, q_heads: int) -> list[str]:
    phases = {title: getattr(cost, f"{name}_cycles") for name, title in mapping.phases.items()} | {
        "all": cost.cycles
    }
    rows = [
        [name, str(int(cycles[0])), f"{cycles[0] * mapping.device.t_ck_ns:.1f}"]
        for name, cycles in phases.items()
    ]
    parts = {name.removesuffix("_pj"): part for name, part in cost.energy.parts().items()}
    parts["all"] = cost.energy.total_pj
    opened = {"key": cost.n_key_rows, "value": cost.n_value_rows, "all": cost.n_activations}
    commands = [
        [
            "row activations (x the banks of each)" if name == "all" else f"{name} rows opened",
            "unknown" if count is None else str(int(count[0])),
        ]
        for name, count in opened.items()
    ] + [
        [f"MAC commands (once per query head, {q_heads})", str(int(cost.n_mac_commands[0]))],
        ["data-movement commands", str(int(cost.n_moves[0]))],
    ]
    return [
        *text_table(["commands", "count"], commands, right=[1]),
        "",
        *text_table(["phase", "cycles", "ns"], rows, right=[1, 2]),
        "",
        *text_table(
            ["energy", "pJ"],
            [
                [name, "unknown" if value is None else f"{value[0]:.0f}"]
                for name, value in parts.items()
            ],
            right=[1],
        ),
    ]


def _ranges(tokens: np.ndarray) -> str:
    text = write_ranges(int(token) for token in tokens)
    return text if len(text) <= TEXT_WIDTH else text[: TEXT_WIDTH - 1] + "…"
