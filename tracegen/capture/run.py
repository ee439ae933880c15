"""Run a model over a prompt and some decode steps, and write what its attention read as a trace."""

import inspect
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing
from tracegen.base.space import free_bytes, in_words
from tracegen.capture.model import LoadedModel
from tracegen.capture.recording import Call, recording
from tracegen.capture.spill import Spill, scratch_bytes
from tracegen.capture.weights import weights_sha256
from tracegen.trace.schema import MANIFEST, PROMPT_QUERIES, Manifest, estimate_bytes
from tracegen.trace.store import Trace
from tracegen.trace.writer import TraceWriter

GB = 1e9
_MODEL_ERRORS = (TypeError, AttributeError, ValueError, LookupError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Request:
    """What to capture.

    With `forced_ids` the decode steps are fed these tokens; without, each step is fed the most
    likely token after the one before it (an end-of-text token does not end the capture).
    """

    prompt_ids: Sequence[int]
    decode_steps: int
    description: dict[str, Any] = field(default_factory=dict)
    layers: Sequence[int] | None = None
    """Layers to keep; None: every layer that attends."""
    forced_ids: Sequence[int] | None = None
    max_gb: float | None = None
    """Largest allowed size of the trace in 1e9 bytes; None: no limit but the disk's."""


def capture(
    loaded: LoadedModel,
    request: Request,
    out: str | Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> Trace:
    """Capture a trace into the folder or URL `out`.

    Args:
        loaded: the model.
        request: prompt, number of steps and limits.
        out: folder to make; it appears only when complete.
        overwrite: replace a trace that is already there.
        announce: called with one line about the size before the model runs.

    Raises:
        UserError: the request cannot be met (empty or too long a prompt, a model that cannot be
            captured, a trace above the limit, a folder that exists).
    """
    refuse_existing(out, overwrite=overwrite, marker=MANIFEST)
    _check(loaded, request)
    manifest = plan(loaded, request)
    size = estimate_bytes(manifest)
    announce(
        f"{len(manifest.layers)} layers x {manifest.tokens:,} tokens of {loaded.name}: "
        f"about {in_words(size)}"
    )
    if request.max_gb is not None and size > request.max_gb * GB:
        raise UserError(
            f"the trace would take about {in_words(size)} and --max-gb allows "
            f"{in_words(request.max_gb * GB)}; raise it, or ask for fewer tokens, steps or --layers"
        )
    free, needed = free_bytes(out), size + scratch_bytes(manifest)
    if free is not None and needed > free:
        raise UserError(
            f"{out}: about {in_words(needed)} are needed while the trace is made and "
            f"{in_words(free)} are free; free space or choose another folder"
        )
    with TraceWriter(out, manifest, overwrite=overwrite) as writer:
        spill = Spill(writer)
        try:
            with recording(loaded.model, spill):
                token_ids, log_probs = generate(
                    loaded.model, request.prompt_ids, request.decode_steps, request.forced_ids
                )
        finally:
            spill.close()
        n_prompt = len(request.prompt_ids)
        writer.write_tokens(
            token_id=token_ids,
            text=_texts(loaded.tokenizer, token_ids),
            log_prob=[*[None] * n_prompt, *log_probs],
        )
    return Trace.open(out)


def generate(
    model: Any, prompt_ids: Sequence[int], steps: int, forced_ids: Sequence[int] | None = None
) -> tuple[list[int], list[float]]:
    """Decode `steps` tokens through the model's cache.

    Returns:
        The token ids, prompt and decoded, and each decoded token's log-probability.
    """
    with torch.inference_mode():
        device = model.get_input_embeddings().weight.device
        last_only = (
            {"logits_to_keep": 1}
            if "logits_to_keep" in inspect.signature(model.forward).parameters
            else {}
        )
        ids = torch.tensor([list(prompt_ids)], device=device)
        cache = None
        decoded, log_probs = [], []
        for step in range(steps + 1):
            result = model(input_ids=ids, past_key_values=cache, use_cache=True, **last_only)
            cache = getattr(result, "past_key_values", None)
            if cache is None:
                raise UserError(
                    f"{type(model).__name__}: keeps no cache of keys and values (KV cache), so it "
                    "cannot be captured"
                )
            if step == steps:
                break
            distribution = torch.log_softmax(result.logits[0, -1].float(), dim=-1)
            ids = (
                distribution.argmax().reshape(1, 1)
                if forced_ids is None
                else torch.tensor([[forced_ids[step]]], device=device)
            )
            decoded.append(ids)
            log_probs.append(distribution[ids[0, 0]])
        chosen = torch.cat(decoded, dim=1)[0].tolist()
        return [*prompt_ids, *chosen], torch.stack(log_probs).tolist()


def plan(loaded: LoadedModel, request: Request) -> Manifest:
    """Return the manifest that a capture will have, from three tokens run through the model.

    Raises:
        UserError: the model cannot be captured, or a layer asked for does not attend.
    """
    name = type(loaded.model).__name__
    probe = _Probe()
    ids = [int(request.prompt_ids[0])] * 2
    try:
        with recording(loaded.model, probe):
            generate(loaded.model, ids, 1)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(name) else f"{name}: {text}") from error
    except _MODEL_ERRORS as error:
        raise UserError(
            f"{name}: decoding with a cache failed under recording ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}), so it cannot be "
            "captured"
        ) from error
    calls = probe.calls
    if not calls:
        raise UserError(
            f"{name}: no layer attends over a cache of keys and values, so there is nothing to "
            "capture; only decoders with such a cache can be captured"
        )
    if any(len(layer) != 2 for layer in calls.values()):
        raise UserError(
            f"{name}: a layer attends more or less than once a step, so it cannot be captured"
        )
    if not all(_grows(layer) for layer in calls.values()):
        raise UserError(
            f"{name}: its attention keeps no cache of keys and values from step to step, so it "
            "cannot be captured"
        )
    layers = sorted(calls) if request.layers is None else sorted(set(request.layers))
    absent = [layer for layer in layers if layer not in calls]
    if absent:
        known = ", ".join(map(str, sorted(calls)))
        raise UserError(f"--layers: no attention in layer {absent[0]} of {name}; known: {known}")
    shapes = {layer: calls[layer][0].shape for layer in layers}
    if len(set(shapes.values())) > 1:
        found = "; ".join(
            f"{shape} in layers {', '.join(str(k) for k, v in shapes.items() if v == shape)}"
            for shape in sorted(set(shapes.values()), key=str)
        )
        raise UserError(
            f"{name}: layers of different shapes ({found}); choose layers of one shape by --layers"
        )
    first = calls[layers[0]][0]
    dtype = first.dtype
    for layer in layers:
        for one in calls[layer]:
            dtype = torch.promote_types(dtype, one.dtype)
    if dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise UserError(f"{name}: attends in {dtype}; give --dtype float32 or a 16-bit type")
    config = loaded.model.config.get_text_config(decoder=True)
    return Manifest(
        kind="captured",
        model=loaded.name,
        model_sha256=weights_sha256(loaded.model),
        architecture=name,
        quantized=loaded.quantized,
        layers=tuple(layers),
        q_heads=first.shape.q_heads,
        kv_heads=first.shape.kv_heads,
        head_dim=first.shape.head_dim,
        dtype=str(dtype).removeprefix("torch."),
        prompt_tokens=len(request.prompt_ids),
        decode_steps=request.decode_steps,
        softmax_scale=tuple(calls[layer][0].softmax_scale for layer in layers),
        sliding_window=tuple(calls[layer][0].sliding_window for layer in layers),
        soft_cap=first.shape.soft_cap,
        has_output=True,
        prompt_queries=min(PROMPT_QUERIES, len(request.prompt_ids)),
        has_prompt_attention=True,
        teacher_forced=request.forced_ids is not None,
        rope=_rope(config),
        prompt=request.description,
        versions={
            "tracegen": version("pimreplay"),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    q_heads: int
    kv_heads: int
    head_dim: int
    soft_cap: float | None

    def __str__(self) -> str:
        cap = "" if self.soft_cap is None else f", soft cap {self.soft_cap:g}"
        return f"{self.q_heads} query and {self.kv_heads} KV heads of {self.head_dim}{cap}"


@dataclass(frozen=True, slots=True)
class _Seen:
    shape: _Shape
    tokens: int
    dtype: torch.dtype
    softmax_scale: float
    sliding_window: int | None


class _Probe:
    """Sink that keeps the shapes of the calls and none of their vectors."""

    def __init__(self) -> None:
        self.calls: dict[int, list[_Seen]] = {}

    def record(self, call: Call) -> None:
        dtype = call.query.dtype
        for one in (call.key, call.value, call.output):
            dtype = torch.promote_types(dtype, one.dtype)
        shape = _Shape(call.query.shape[0], call.key.shape[0], call.key.shape[2], call.soft_cap)
        seen = _Seen(shape, call.key.shape[1], dtype, call.softmax_scale, call.sliding_window)
        self.calls.setdefault(call.layer, []).append(seen)


def _grows(calls: list[_Seen]) -> bool:
    """Return whether a layer saw its two prompt tokens again beside the third one."""
    window = calls[0].sliding_window or 3
    return calls[0].tokens == 2 and calls[1].tokens >= min(3, window)


def _check(loaded: LoadedModel, request: Request) -> None:
    n_prompt = len(request.prompt_ids)
    if n_prompt == 0:
        raise UserError("the prompt is empty; give at least one token of text")
    if request.decode_steps < 1:
        raise UserError(f"--decode-steps is {request.decode_steps}; give at least 1")
    context = loaded.context_tokens
    if context is not None and n_prompt + request.decode_steps > context:
        raise UserError(
            f"{n_prompt:,} prompt tokens and {request.decode_steps:,} decode steps are beyond the "
            f"context of {loaded.name}, {context:,} tokens; shorten the prompt or take fewer steps"
        )


def _rope(config: Any) -> dict[str, Any]:
    """Return the RoPE parameters that a configuration states."""
    found = {
        name: getattr(config, name)
        for name in ("rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor")
        if getattr(config, name, None) is not None
    }
    if found.get("rope_scaling") == found.get("rope_parameters"):
        found.pop("rope_scaling", None)
    return {name: dict(one) if isinstance(one, dict) else one for name, one in found.items()}


def _texts(tokenizer: Any, token_ids: Sequence[int]) -> list[str | None]:
    if tokenizer is None:
        return [None] * len(token_ids)
    text = {one: tokenizer.decode([one]) for one in set(token_ids)}
    return [text[one] for one in token_ids]
