"""What a capture will be, from three tokens run through the model: its manifest, or a refusal."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from tracegen.base.errors import UserError
from tracegen.capture.generation import generate
from tracegen.capture.model import LoadedModel
from tracegen.capture.recording import Call, recording
from tracegen.trace.schema import PROMPT_QUERIES, Manifest

_MODEL_ERRORS = (TypeError, AttributeError, ValueError, LookupError, RuntimeError)
_STORABLE = (torch.float16, torch.bfloat16, torch.float32)


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


def plan(loaded: LoadedModel, request: Request) -> Manifest:
    """Return the manifest that a capture will have, but for the hash of the weights.

    Raises:
        UserError: the model cannot be captured, or a layer asked for does not attend.
    """
    name = type(loaded.model).__name__
    calls = _probe(loaded, int(request.prompt_ids[0]))
    _refuse_unusable(name, calls)
    layers = _layers(name, calls, request.layers)
    shape = _shape(name, calls, layers)
    computed = _attends_in(name, calls, layers)
    stored = loaded.stored_dtype or computed
    first = [calls[layer][0] for layer in layers]
    return Manifest(
        kind="captured",
        model=loaded.name,
        architecture=name,
        quantized=loaded.quantized,
        layers=tuple(layers),
        q_heads=shape.q_heads,
        kv_heads=shape.kv_heads,
        head_dim=tuple(one.key.shape[2] for one in first),
        dtype=_name(stored),
        compute_dtype=_name(computed) if computed != stored else None,
        prompt_tokens=len(request.prompt_ids),
        decode_steps=request.decode_steps,
        softmax_scale=tuple(one.softmax_scale for one in first),
        sliding_window=tuple(one.sliding_window for one in first),
        soft_cap=shape.soft_cap,
        kv_layer=_owners(calls, layers),
        sink_logit=_sinks(first),
        has_output=True,
        prompt_queries=min(PROMPT_QUERIES, len(request.prompt_ids)),
        has_prompt_attention=True,
        teacher_forced=request.forced_ids is not None,
        rope=_rope(loaded.model.config.get_text_config(decoder=True)),
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
    soft_cap: float | None

    def __str__(self) -> str:
        cap = "" if self.soft_cap is None else f", soft cap {self.soft_cap:g}"
        return f"{self.q_heads} query and {self.kv_heads} KV heads{cap}"


@dataclass(frozen=True, slots=True)
class _Seen:
    shape: _Shape
    key: Tensor
    """(kv_heads, tokens, head_dim); kept, so that no other tensor can come to lie where it does."""
    value: Tensor
    dtype: torch.dtype
    softmax_scale: float
    sliding_window: int | None
    sink_logit: Tensor | None


class _Probe:
    """Sink that keeps what a manifest needs of the calls."""

    def __init__(self) -> None:
        self.calls: dict[int, list[_Seen]] = {}

    def record(self, call: Call) -> None:
        dtype = call.query.dtype
        for one in (call.key, call.value, call.output):
            dtype = torch.promote_types(dtype, one.dtype)
        shape = _Shape(call.query.shape[0], call.key.shape[0], call.soft_cap)
        self.calls.setdefault(call.layer, []).append(
            _Seen(
                shape,
                call.key,
                call.value,
                dtype,
                call.softmax_scale,
                call.sliding_window,
                call.sink_logit,
            )
        )


def _probe(loaded: LoadedModel, token_id: int) -> dict[int, list[_Seen]]:
    """Return what each layer sees of a prompt of two tokens and of one step."""
    name = type(loaded.model).__name__
    probe = _Probe()
    try:
        with recording(loaded.model, probe):
            generate(loaded.model, [token_id] * 2, 1)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(name) else f"{name}: {text}") from error
    except _MODEL_ERRORS as error:
        raise UserError(
            f"{name}: decoding with a cache failed under recording ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}), so it cannot be "
            "captured"
        ) from error
    return probe.calls


def _refuse_unusable(name: str, calls: dict[int, list[_Seen]]) -> None:
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


def _grows(calls: list[_Seen]) -> bool:
    """Return whether a layer saw its two prompt tokens again beside the third one."""
    window = calls[0].sliding_window or 3
    before, after = (call.key.shape[1] for call in calls)
    return before == 2 and after >= min(3, window)


def _layers(name: str, calls: dict[int, list[_Seen]], asked: Any) -> list[int]:
    """Return the layers to keep: those asked for, or all that attend."""
    layers = sorted(calls) if asked is None else sorted(set(asked))
    absent = [layer for layer in layers if layer not in calls]
    if absent:
        known = ", ".join(map(str, sorted(calls)))
        raise UserError(f"--layers: no attention in layer {absent[0]} of {name}; known: {known}")
    return layers


def _shape(name: str, calls: dict[int, list[_Seen]], layers: list[int]) -> _Shape:
    """Return the one shape that all layers have."""
    shapes = {layer: calls[layer][0].shape for layer in layers}
    if len(set(shapes.values())) > 1:
        found = "; ".join(
            f"{shape} in layers {', '.join(str(k) for k, v in shapes.items() if v == shape)}"
            for shape in sorted(set(shapes.values()), key=str)
        )
        raise UserError(
            f"{name}: layers of different shapes ({found}); choose layers of one shape by --layers"
        )
    return shapes[layers[0]]


def _owners(calls: dict[int, list[_Seen]], layers: list[int]) -> tuple[int, ...]:
    """Return for each layer the first that reads the same keys and values; empty: each its own."""
    first: dict[tuple[int, ...], int] = {}
    owners = []
    for layer in layers:
        key, value = calls[layer][-1].key, calls[layer][-1].value
        place = (key.data_ptr(), value.data_ptr(), *key.shape)
        owners.append(first.setdefault(place, layer))
    return () if owners == layers else tuple(owners)


def _sinks(first: list[_Seen]) -> tuple[tuple[float, ...], ...]:
    """Return the sink logits of each layer; empty: no layer has any."""
    found = [one.sink_logit for one in first]
    if all(one is None for one in found):
        return ()
    if any(one is None for one in found):
        raise UserError(
            "some layers have sink logits and some have none; choose layers of one kind by --layers"
        )
    return tuple(tuple(one.float().tolist()) for one in found if one is not None)


def _attends_in(name: str, calls: dict[int, list[_Seen]], layers: list[int]) -> torch.dtype:
    """Return the type in which the layers attend."""
    dtype = calls[layers[0]][0].dtype
    for layer in layers:
        for one in calls[layer]:
            dtype = torch.promote_types(dtype, one.dtype)
    if dtype not in _STORABLE:
        raise UserError(f"{name}: attends in {dtype}; give --dtype float32 or a 16-bit type")
    return dtype


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
