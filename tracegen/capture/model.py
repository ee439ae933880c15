"""Load a model and its tokenizer: `reference`, a local folder or a Hugging Face id, all alike."""

import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tracegen.base.cpu import make_bfloat16_safe
from tracegen.base.device import torch_device
from tracegen.base.errors import UserError, nearest

REFERENCE = "reference"
REFERENCE_FOLDER = Path(__file__).parents[1] / "reference_model" / "weights"
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to decode, in evaluation mode on its device, and its tokenizer."""

    name: str
    model: Any
    tokenizer: Any

    @property
    def context_tokens(self) -> int | None:
        """Longest sequence that the model's configuration allows; None: it states none."""
        config = self.model.config.get_text_config(decoder=True)
        for field in ("max_position_embeddings", "n_positions", "max_seq_len"):
            value = getattr(config, field, None)
            if isinstance(value, int) and value > 0:
                return value
        return None


def load(name: str, dtype: str = "auto", device: str = "auto") -> LoadedModel:
    """Load a causal language model by name.

    Args:
        name: `reference` (the model that ships with this project), a folder that `transformers`
            can load, or a Hugging Face id, taken from the local cache where it is there.
        dtype: auto (the checkpoint's own type), float16, bfloat16 or float32.
        device: auto (CUDA where there is one), or any device that torch knows.

    Raises:
        UserError: an unknown model, type or device, or a folder that cannot be loaded.
    """
    where_to = torch_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: {nearest(dtype, ['auto', *DTYPES])}")
    where = _locate(name)
    # The hub's client retries for minutes without a network; a cached or local model needs none.
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = AutoConfig.from_pretrained(where)
            wanted = DTYPES.get(dtype) or _own_dtype(config)
            if where_to.type == "cpu" and wanted in (torch.bfloat16, None):
                make_bfloat16_safe()
            model = AutoModelForCausalLM.from_pretrained(where, dtype=wanted or "auto")
            tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise UserError(f"--model {name}: cannot be loaded ({_sentence(error)})") from error
    if model.dtype not in DTYPES.values():
        raise UserError(
            f"--model {name}: weights are {model.dtype}, allowed: {', '.join(DTYPES)}; "
            "give --dtype float16, bfloat16 or float32"
        )
    model.eval().requires_grad_(False)
    return LoadedModel(name, model.to(where_to), tokenizer)


def weights_sha256(model: Any) -> str:
    """Return the hash of a model's configuration and of every weight, as loaded."""
    config = model.config.to_dict()
    for volatile in ("_name_or_path", "transformers_version", "_attn_implementation", "dtype"):
        config.pop(volatile, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().contiguous().flatten().view(torch.uint8)
        for part in flat.split(1 << 26):
            digest.update(part.cpu().numpy())
    return digest.hexdigest()


def _locate(name: str) -> str:
    """Return what `from_pretrained` takes for a name; known bad names are refused at once."""
    if name == REFERENCE:
        if not (REFERENCE_FOLDER / "config.json").exists():
            raise UserError(
                f"--model {REFERENCE}: {REFERENCE_FOLDER} holds no model; install the complete "
                "package or make one with `tracegen train-reference`"
            )
        return str(REFERENCE_FOLDER)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise UserError(
                f"--model {name}: the folder holds no config.json; give a folder that "
                "`transformers` can load"
            )
        return str(folder)
    if folder.exists():
        raise UserError(f"--model {name}: a file; give the folder that holds config.json")
    cached = _cached_ids()
    if name in cached:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        return name
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not looks_like_id or not _downloadable(name):
        raise UserError(
            f"--model {name}: no such folder, no cached model and none that could be found on the "
            f"Hugging Face hub; {nearest(name, [REFERENCE, *cached])}"
        )
    return name


def _cached_ids() -> list[str]:
    """Return the ids of the models in the local Hugging Face cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return sorted(
        path.name.removeprefix("models--").replace("--", "/")
        for path in Path(HF_HUB_CACHE).glob("models--*")
        if any(path.glob("snapshots/*/config.json"))
    )


def _downloadable(name: str) -> bool:
    """Ask the hub once, briefly, whether a model of this id is there."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=5)
    except Exception:
        return False
    return True


def _own_dtype(config: Any) -> torch.dtype | None:
    """Return the type that a checkpoint's configuration states."""
    stated = getattr(config, "dtype", None)
    if isinstance(stated, str):
        stated = getattr(torch, stated, None)
    return stated if isinstance(stated, torch.dtype) else None


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")
