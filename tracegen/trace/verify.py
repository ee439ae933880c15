"""Check that a trace is whole and true: checksums, rows, and attention recomputed from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracegen.trace.rotary import switch_tokens
from tracegen.trace.schema import Manifest
from tracegen.trace.store import Trace, as_float32

Array = npt.NDArray[Any]
# The model rounds weights and outputs to its own type; recomputation here does not.
TOLERANCE_RATIO = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-4}
_STEPS = 64


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a trace whose files and rows are whole.

    `output_error_ratio` is the largest, over query heads and steps, of the norm of the difference
    between recomputed and recorded attention output over the norm of the recorded one; None: the
    trace holds no recorded output. `attention_sum_error_ratio` is how far a query head's sum of
    column sums is from the number of prompt queries, at most; None: no column sums.
    """

    files: int
    size_bytes: int
    output_error_ratio: float | None
    output_error_max: float | None
    attention_sum_error_ratio: float | None
    problems: tuple[str, ...]


def verify(trace: Trace, announce: Callable[[str], None] = lambda _: None) -> Verification:
    """Check every file of a trace and recompute its attention.

    Raises:
        UserError: a file is altered, unreadable or incomplete; names the file.
    """
    manifest = trace.manifest
    for one in manifest.files:
        trace.check_file(one.path)
    trace.token_table()
    problems: list[str] = []
    worst_ratio = worst_absolute = worst_sum = 0.0
    for index, layer in enumerate(manifest.layers):
        for kv_head in range(manifest.kv_heads):
            key = as_float32(trace.key(layer, kv_head))
            value = as_float32(trace.value(layer, kv_head))
            query = as_float32(trace.query(layer, kv_head))
            trace.prompt_query(layer, kv_head)  # read, and so checked
            output = trace.output(layer, kv_head)
            if output is not None:
                ratio, absolute = _output_error(
                    manifest, index, kv_head, query, key, value, as_float32(output)
                )
                worst_ratio = max(worst_ratio, ratio)
                worst_absolute = max(worst_absolute, absolute)
            attention = trace.prompt_attention(layer, kv_head)
            if attention is not None:
                total = attention[0].sum(axis=1, dtype=np.float64)
                error = total / manifest.prompt_tokens - 1
                # sinks take a share, so that a sum may be less
                error = error if manifest.sink_logit else np.abs(error)
                worst_sum = max(worst_sum, _nan_is_infinite(float(error.max())))
        announce(f"layer {layer} checked")
    switch = switch_tokens(manifest.rope, manifest.prompt_tokens, manifest.tokens)
    if switch is not None:
        problems.append(f"the rotary embedding changes at {switch:,} tokens, while decoding")
    allowed = TOLERANCE_RATIO[manifest.dtype]
    if worst_ratio > allowed:
        problems.append(
            f"recomputed attention differs from the recorded output by up to {worst_ratio:.2g} of "
            f"its norm, more than {allowed:g} for {manifest.dtype}"
        )
    if worst_sum > 1e-3:
        problems.append(
            f"column sums of the prompt's attention add up to the prompt's length only within "
            f"{worst_sum:.2g}"
        )
    return Verification(
        files=len(manifest.files),
        size_bytes=sum(one.size_bytes for one in manifest.files),
        output_error_ratio=worst_ratio if manifest.has_output else None,
        output_error_max=worst_absolute if manifest.has_output else None,
        attention_sum_error_ratio=worst_sum if manifest.has_prompt_attention else None,
        problems=tuple(problems),
    )


def attention_output(
    manifest: Manifest, index: int, kv_head: int, query: Array, key: Array, value: Array
) -> npt.NDArray[np.float64]:
    """Return exact attention of every decode step, (q_heads, steps, head_dim) float64.

    Args:
        manifest: the trace's.
        index: position of the layer in `manifest.layers`.
        kv_head: KV head whose group the queries are.
        query: (q_heads, steps, head_dim).
        key: (tokens, head_dim).
        value: (tokens, head_dim).
    """
    token = np.arange(key.shape[0])
    last = manifest.prompt_tokens + np.arange(query.shape[1])
    window = manifest.sliding_window[index]
    key64, value64 = key.astype(np.float64), value.astype(np.float64)
    heads = slice(kv_head * manifest.group, (kv_head + 1) * manifest.group)
    sinks = manifest.sink_logit[index][heads] if manifest.sink_logit else [-np.inf] * len(query)
    sink = np.array(sinks, dtype=np.float64)[:, None, None]
    result = np.empty(query.shape, dtype=np.float64)
    for start in range(0, query.shape[1], _STEPS):
        steps = slice(start, start + _STEPS)
        logits = query[:, steps].astype(np.float64) @ key64.T * manifest.softmax_scale[index]
        if manifest.soft_cap is not None:
            logits = manifest.soft_cap * np.tanh(logits / manifest.soft_cap)
        visible = token <= last[steps, None]
        if window is not None:
            visible &= token > last[steps, None] - window
        logits = np.where(visible, logits, -np.inf)
        top = np.maximum(logits.max(axis=-1, keepdims=True), sink)
        weight = np.exp(logits - top)
        total = weight.sum(axis=-1, keepdims=True) + np.exp(sink - top)
        result[:, steps] = weight @ value64 / total
    return result


def _output_error(
    manifest: Manifest,
    index: int,
    kv_head: int,
    query: Array,
    key: Array,
    value: Array,
    recorded: Array,
) -> tuple[float, float]:
    difference = attention_output(manifest, index, kv_head, query, key, value) - recorded
    norm = np.linalg.norm(recorded.astype(np.float64), axis=-1)
    ratio = np.linalg.norm(difference, axis=-1) / np.maximum(norm, 1e-30)
    return _nan_is_infinite(float(ratio.max())), _nan_is_infinite(float(np.abs(difference).max()))


def _nan_is_infinite(number: float) -> float:
    return float("inf") if np.isnan(number) else number


def describe(trace: Trace) -> list[tuple[str, str]]:
    """Return what a trace holds, as pairs of a name and a text."""
    one = trace.manifest
    size = sum(file.size_bytes for file in one.files)
    scales = sorted(set(one.softmax_scale))
    windows = ", ".join(
        "none" if w is None else f"{w:,}" for w in dict.fromkeys(one.sliding_window)
    )
    stored = ["keys", "values", "queries"]
    stored += ["outputs"] if one.has_output else []
    stored += [f"last {one.prompt_queries} prompt queries"] if one.prompt_queries else []
    stored += ["prompt attention sums"] if one.has_prompt_attention else []
    return [
        ("trace", trace.where),
        ("kind", one.kind + (", teacher-forced" if one.teacher_forced else "")),
        ("hash", trace.hash),
        ("model", one.model + (f" ({one.architecture})" if one.architecture else "")),
        ("model sha256", one.model_sha256 or "unknown"),
        ("quantised", _quantized(one.quantized) if one.quantized else "no, as far as known"),
        ("layers", f"{len(one.layers)}: {', '.join(map(str, one.layers))}"),
        (
            "heads",
            f"{one.q_heads} query, {one.kv_heads} KV, head_dim {head_sizes(one)}, {one.dtype}",
        ),
        ("tokens", f"{one.prompt_tokens:,} prompt + {one.decode_steps:,} decoded"),
        ("softmax scale", ", ".join(f"{scale:g}" for scale in scales)),
        ("keys and values", _sharing(one)),
        ("sink logits", "one a query head" if one.sink_logit else "none"),
        ("soft cap", "none" if one.soft_cap is None else f"{one.soft_cap:g}"),
        ("sliding window", windows),
        ("rope", ", ".join(f"{k}: {v}" for k, v in one.rope.items()) or "unknown"),
        ("prompt", ", ".join(f"{k}: {v}" for k, v in one.prompt.items()) or "unknown"),
        ("stored", ", ".join(stored)),
        ("size", f"{size:,} bytes in {len(one.files)} files"),
        ("versions", ", ".join(f"{k} {v}" for k, v in one.versions.items()) or "unknown"),
    ]


def head_sizes(manifest: Manifest) -> str:
    """Return the sizes of the heads, in words."""
    return " and ".join(map(str, sorted(set(manifest.head_dim))))


def _sharing(manifest: Manifest) -> str:
    shared = [layer for layer in manifest.layers if layer not in manifest.kv_layers]
    return (
        "each layer its own"
        if not shared
        else (
            f"each layer its own, but {len(shared)} that read those of an earlier layer: "
            f"{', '.join(map(str, shared))}"
        )
    )


def _quantized(weights: Mapping[str, Any]) -> str:
    types = ", ".join(f"{count} {name}" for name, count in weights["tensor_types"].items())
    return f"{weights['file']} (sha256 {weights['sha256'][:12]}), tensors: {types}"
