"""Load a model and its tokenizer: whatever a name leads to, all alike."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from tracegen.base.cpu import make_bfloat16_safe
from tracegen.base.device import torch_device
from tracegen.base.errors import UserError
from tracegen.capture.dtype import choose
from tracegen.capture.source import Source, locate
from tracegen.capture.weights import weights_sha256

_CACHE_LINE_BYTES = 64


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to decode, in evaluation mode on its device, and its tokenizer."""

    name: str
    model: Any
    tokenizer: Any
    quantized: Mapping[str, Any] = field(default_factory=dict)
    """The file of quantised weights that the model was unpacked from; empty: none."""
    own_dtype: torch.dtype | None = None
    """The checkpoint's type, where the weights were widened to compute; None: as loaded."""
    stored_dtype: torch.dtype | None = None
    """The type that a trace stores; None: the one in which the model attends."""

    @cached_property
    def sha256(self) -> str:
        """Hash of the model's configuration and of its weights in the checkpoint's own type."""
        return weights_sha256(self.model, self.own_dtype)

    @property
    def context_tokens(self) -> int | None:
        """Longest sequence that the model's configuration allows; None: it states none."""
        config = self.model.config.get_text_config(decoder=True)
        for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
            value = getattr(config, name, None)
            if isinstance(value, int) and value > 0:
                return max(value, _stretched(config, value))
        return None


DeviceMap = str | Mapping[str, str | int]
"""`auto`, or a device for each part of a model: cpu, disk or the number of a GPU."""


def load(
    name: str,
    dtype: str = "auto",
    device: str = "auto",
    *,
    device_map: DeviceMap | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a causal language model by name.

    Args:
        name: `reference` (the model that ships with this project), `smollm2` (a package), a GGUF
            file, a folder that `transformers` can load, or a Hugging Face id, taken from the local
            cache where it is there.
        dtype: auto (`tracegen.capture.dtype.choose`), float16, bfloat16 or float32.
        device: auto (CUDA where there is one), or any device that torch knows.
        device_map: spread a model that is larger than one GPU over all GPUs, memory and disk (by
            the library accelerate); None: all of it on `device`.
        trust_remote_code: run the code that a model brings with it.

    Raises:
        UserError: an unknown model, type or device, or a model that cannot be loaded.
    """
    where_to = torch_device(device)
    if device_map is not None and device != "auto":
        raise UserError("--device-map: says where the model lies, and so does --device; give one")
    if isinstance(device_map, str) and device_map != "auto":
        raise UserError(f"--device-map {device_map}: unknown; allowed: auto")
    choose(dtype, None, where_to)  # refuse an unknown type before anything is loaded
    source = locate(name)
    quantized: Mapping[str, Any] = {}
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    reading: AbstractContextManager[None] = nullcontext()
    if source.gguf is not None:
        from tracegen.capture import gguf_file

        quantized, reading = gguf_file.describe(name, source.gguf), gguf_file.reading_once()
    try:
        with warnings.catch_warnings(), reading:
            warnings.simplefilter("ignore")
            tokenizer = _tokenizer(name, source, trust_remote_code)
            own, model = _model(source, dtype, where_to, device_map, trust_remote_code)
    except UserError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        if "trust_remote_code" in str(error):
            raise UserError(
                f"--model {name}: brings code of its own, which is not run; read it and give "
                "--trust-remote-code if you trust it"
            ) from error
        raise UserError(f"--model {name}: cannot be loaded ({_sentence(error)})") from error
    types = choose(dtype, own, where_to)
    model = model.eval().requires_grad_(False)
    if device_map is None:
        model = model.to(where_to)
    if where_to.type == "cpu":
        _align(model)
    return LoadedModel(
        name,
        model,
        tokenizer,
        quantized,
        own_dtype=own if types.compute == torch.promote_types(types.compute, own) else None,
        stored_dtype=types.stored,
    )


def _model(
    source: Source, dtype: str, device: torch.device, device_map: DeviceMap | None, trust: bool
) -> tuple[torch.dtype, Any]:
    """Return the checkpoint's own type, and the model in the type to compute in."""
    from transformers import AutoConfig, GgufConfig

    options: dict[str, Any] = {"trust_remote_code": trust}
    spread = {} if device_map is None else {"device_map": device_map}
    if source.gguf is not None:
        options["gguf_file"] = source.gguf.name
    config = AutoConfig.from_pretrained(source.where, **options)
    if source.gguf is not None:
        options["quantization_config"] = GgufConfig(gguf_file=source.gguf.name, dequantize=True)
    auto_class = _auto_class(config)

    def loaded(as_type: torch.dtype | str) -> Any:
        if device.type == "cpu" and as_type in (torch.bfloat16, "auto"):
            make_bfloat16_safe()
        return auto_class.from_pretrained(
            source.where, config=config, dtype=as_type, **options, **spread
        )

    own = torch.float32 if source.gguf is not None else _stated_dtype(config)
    if own is None:  # only the weights can tell
        own = loaded("auto").dtype
    return own, loaded(choose(dtype, own, device).compute)


def _auto_class(config: Any) -> Any:
    """Return the class that loads a model: of those that also see images, only text is asked."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    sees_images = type(config) in AutoModelForImageTextToText._model_mapping
    reads_only = type(config) in AutoModelForCausalLM._model_mapping
    return AutoModelForImageTextToText if sees_images and not reads_only else AutoModelForCausalLM


def _tokenizer(name: str, source: Source, trust: bool) -> Any:
    from transformers import AutoTokenizer

    file = {} if source.gguf is None else {"gguf_file": source.gguf.name}
    try:
        return AutoTokenizer.from_pretrained(source.where, trust_remote_code=trust, **file)
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise
        raise UserError(
            f"--model {name}: its tokenizer cannot be loaded ({_sentence(error)}); put the model's "
            "tokenizer files beside its weights"
        ) from error


def _stretched(config: Any, tokens: int) -> int:
    """Return the context that the rotary embedding is stretched to, by the recipe's own factor."""
    rope = getattr(config, "rope_parameters", None) or {}
    factor = rope.get("factor")
    if rope.get("rope_type") not in ("yarn", "dynamic", "linear") or not factor:
        return tokens
    return int(factor * (rope.get("original_max_position_embeddings") or tokens))


def _align(model: Any) -> None:
    """Let each weight begin at a cache line, as new tensors do and those of mapped files do not.

    Products of a matrix and a vector add up in an order that depends on it: the same weights from
    two files would give traces that differ in their last bits.
    """
    for weight in model.parameters():
        if weight.data_ptr() % _CACHE_LINE_BYTES:
            weight.data = weight.data.clone()


def _stated_dtype(config: Any) -> torch.dtype | None:
    """Return the type that a checkpoint's configuration states."""
    stated = getattr(config, "dtype", None)
    if isinstance(stated, str):
        stated = getattr(torch, stated, None)
    return stated if isinstance(stated, torch.dtype) else None


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")
