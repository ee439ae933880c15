"""Show one step of one KV head: which tokens, blocks and rows are read, and what that costs."""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from pimreplay.bank_model.commands import REQUEST_WORDS
from pimreplay.cost.channels import channels_of, head_cost
from pimreplay.cost.command_fidelity import HeadStream
from pimreplay.cost.step_cost import StepCost
from pimreplay.hardware import reading as devices
from pimreplay.placement.blocks import over_channels, touched_blocks
from pimreplay.replay.kv_head import read_head, select
from pimreplay.selection.budget import Budget
from pimreplay.selection.masks import union
from pimreplay.selection.recall import ExactAttention
from pimreplay.study.plan import method
from pimreplay.study.sweep_file import FIDELITIES
from tracegen.base.errors import UserError, nearest
from tracegen.base.numbers import write_ranges
from tracegen.trace.schema import ITEM_BYTES
from tracegen.trace.store import Trace

if TYPE_CHECKING:
    from pimreplay.hardware.device import Geometry, Hardware

TEXT_WIDTH = 48
COMMAND_RUNS = 16


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step reads, laid out."""

    mask: np.ndarray  # (q_heads, tokens) bool
    slot: np.ndarray  # (tokens,) where each token lies
    touched: np.ndarray  # (q_heads, n_blocks) bool


def explain_step(
    trace_path: str,
    policy: str,
    layout: str | None,
    hardware: str,
    budget_text: str,
    layer: int | None = None,
    kv_head: int = 0,
    step: int | None = None,
    rows: int = 32,
    fidelity: str = "analytic",
    seed: int = 0,
) -> str:
    """Return the explanation as text.

    Args:
        trace_path: the trace's folder.
        policy: `NAME[:param=value,...][@LAYOUT]`.
        layout: layout, None for the policy's usual one.
        hardware: name of a device, or a .toml file.
        budget_text: tokens or share of the context.
        layer: the model's layer number, None for the last captured one.
        kv_head: KV head of the layer.
        step: decode step, None for the last.
        rows: blocks to show.
        fidelity: analytic or command.
        seed: seed of policies that draw at random.

    Raises:
        UserError: an unknown name, or a layer, KV head or step that the trace does not have.
    """
    if fidelity not in FIDELITIES:
        raise UserError(f"--fidelity {fidelity!r}: unknown; {nearest(fidelity, FIDELITIES)}")
    chosen = method(policy, layout)
    budget = Budget.parse(budget_text)
    device = devices.load(hardware)
    trace = Trace.open(trace_path)
    manifest = trace.manifest
    budget.check(manifest.tokens)
    layer = manifest.layers[-1] if layer is None else layer
    step = manifest.decode_steps - 1 if step is None else step
    _inside("--layer", layer, manifest.layers)
    _inside("--kv-head", kv_head, range(manifest.kv_heads))
    _inside("--step", step, range(manifest.decode_steps))

    head = read_head(trace, layer, kv_head, seed, "cpu")
    selection = select(head, chosen.selector, budget)
    element_bytes = ITEM_BYTES[manifest.dtype]
    geometry = device.geometry(head.head_dim, element_bytes)
    block_tokens = geometry.block_tokens
    placement = chosen.placer.place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, block_tokens
    )
    touched = touched_blocks(selection.mask, placement, block_tokens)
    epoch = int(placement.epoch_of_step[step])
    seen = _Step(
        mask=selection.mask[:, step].numpy(),
        slot=placement.slot[epoch].numpy(),
        touched=touched[:, step].numpy(),
    )
    read = union(touched[:, step])[None].numpy()
    spread = channels_of(chosen.placer, device)
    cost = head_cost(device, head, element_bytes, read, fidelity, spread).total
    recall = ExactAttention(head).recall(selection.mask, selection.output)
    visible = int(head.visible[step])
    kind = " (SYNTHETIC: no model behind it)" if manifest.kind == "synthetic" else ""
    lines = [
        f"trace {trace_path}{kind}: {manifest.model}",
        f"layer {layer}, KV head {kv_head}, step {step}: {visible} tokens visible,"
        f" {head.q_heads} query heads",
        f"policy {chosen.policy}" + (f" ({chosen.parameters})" if chosen.parameters else ""),
        f"layout {chosen.layout}, budget {budget}, hardware {device.name}, {fidelity}",
        "",
        f"attention mass kept {recall.attention_mass_ratio[step]:.4f},"
        f" overlap with exact top-k {recall.topk_overlap_ratio[step]:.4f},"
        f" output error {recall.output_error_ratio[step]:.4f} (means over the query heads)",
        *_query_heads(seen, manifest.group * kv_head, block_tokens),
        "",
        *_blocks(seen, geometry, _texts(trace), rows),
        "",
        *_commands(device, geometry, read, head.q_heads, spread),
        "",
        *_costs(device, geometry, cost, head.q_heads),
    ]
    return "\n".join(lines)


def _inside(option: str, value: int, known: Any) -> None:
    if value not in known:
        raise UserError(f"{option} {value}: not in the trace; known: {min(known)} to {max(known)}")


def _texts(trace: Trace) -> list[str]:
    texts = trace.tokens()["text"].to_list()
    return ["" if text is None else str(text) for text in texts]


def _query_heads(step: _Step, first: int, block_tokens: int) -> list[str]:
    rows = [
        [
            str(first + index),
            str(int(mask.sum())),
            str(int(touched.sum())),
            f"{block_tokens * touched.sum() / max(1, mask.sum()):.2f}",
        ]
        for index, (mask, touched) in enumerate(zip(step.mask, step.touched, strict=True))
    ]
    tokens, blocks = int(step.mask.any(0).sum()), int(step.touched.any(0).sum())
    over = f"{block_tokens * blocks / max(1, tokens):.2f}"
    rows.append(["union", str(tokens), str(blocks), over])
    return _table(["query head", "tokens", "blocks", "tokens read per token wanted"], rows)


def _blocks(step: _Step, geometry: "Geometry", texts: list[str], limit: int) -> list[str]:
    block_tokens = geometry.block_tokens
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
                str(block // geometry.key_blocks_per_row),
                str(block // geometry.value_blocks_per_row),
                "".join(lanes),
                _ranges(chosen),
                text[: TEXT_WIDTH - 1] + "…" if len(text) > TEXT_WIDTH else text,
            ]
        )
    titles = ["block", "key row", "value row", "lanes", "tokens wanted", "text"]
    lines = _table(titles, rows)
    if len(touched) > limit:
        lines.append(f"... and {len(touched) - limit} blocks more (--rows)")
    lines.append("lanes: # wanted, - read for nothing, . empty or not yet written")
    return lines


def _commands(
    device: "Hardware", geometry: "Geometry", read: np.ndarray, q_heads: int, spread: int
) -> list[str]:
    """Return the command stream of the step, runs of one command folded; one channel's share."""
    blocks = over_channels(read, spread)[:, 0] if spread > 1 else read
    busiest = int(blocks.sum(axis=1).argmax())
    requests = HeadStream(device, geometry, blocks.shape[1], q_heads).step(blocks[busiest])
    runs = [
        (REQUEST_WORDS[kind], [int(address) for _, address in run])
        for kind, run in groupby(
            zip(requests.kind.tolist(), requests.address.tolist(), strict=True), lambda one: one[0]
        )
    ]
    rows = [
        [word, str(len(addresses)), f"{addresses[0]:#012x}", f"{addresses[-1]:#012x}"]
        for word, addresses in runs[:COMMAND_RUNS]
    ]
    lines = _table(["commands in order", "count", "first address", "last address"], rows)
    if len(runs) > COMMAND_RUNS:
        lines.append(f"... and {len(runs) - COMMAND_RUNS} runs more")
    if spread > 1:
        lines.append(f"of channel {busiest}, the busiest of the {spread} that share this head")
    return lines


def _costs(hardware: "Hardware", geometry: "Geometry", cost: StepCost, q_heads: int) -> list[str]:
    phases = {
        "score": cost.score_cycles,
        "softmax": cost.softmax_cycles,
        "context": cost.context_cycles,
        "moves that nothing hides": cost.move_cycles,
        "all": cost.cycles,
    }
    rows = [
        [name, str(int(cycles[0])), f"{cycles[0] * hardware.t_ck_ns:.1f}"]
        for name, cycles in phases.items()
    ]
    energy = cost.energy
    parts = {
        "activation": energy.activation_pj,
        "cell": energy.cell_pj,
        "movement": energy.movement_pj,
        "mac": energy.mac_pj,
        "softmax": energy.softmax_pj,
        "background": energy.background_pj,
        "refresh": energy.refresh_pj,
        "all": energy.total_pj,
    }
    commands = [
        ["key rows opened", str(int(cost.n_key_rows[0]))],
        ["value rows opened", str(int(cost.n_value_rows[0]))],
        [f"row activations (x {geometry.parallel_banks} banks)", str(int(cost.n_activations[0]))],
        [f"MAC commands (once per query head, {q_heads})", str(int(cost.n_mac_commands[0]))],
        ["data-movement commands", str(int(cost.n_moves[0]))],
    ]
    return [
        *_table(["commands", "count"], commands),
        "",
        *_table(["phase", "cycles", "ns"], rows),
        "",
        *_table(
            ["energy", "pJ"],
            [
                [name, "unknown" if value is None else f"{value[0]:.0f}"]
                for name, value in parts.items()
            ],
        ),
    ]


def _ranges(tokens: np.ndarray) -> str:
    text = write_ranges(int(token) for token in tokens)
    return text if len(text) <= TEXT_WIDTH else text[: TEXT_WIDTH - 1] + "…"


def _table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Align columns: numbers to the right, words to the left."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    numeric = [
        bool(rows) and all(row[i].replace(".", "").isdigit() for row in rows[:-1] or rows)
        for i in range(len(titles))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [titles, *rows]
    ]
