"""The identity of a model: a hash over its configuration and its weights."""

import hashlib
import json
from typing import Any

import torch

# Where a model was loaded from and how, which is not what it is.
_NOT_IDENTITY = (
    "_name_or_path",
    "architectures",
    "transformers_version",
    "_attn_implementation",
    "dtype",
)
_PART_NUMBERS = 1 << 24


def weights_sha256(model: Any, own_dtype: torch.dtype | None = None) -> str:
    """Return the hash of a model's configuration and of every weight.

    Args:
        model: the model.
        own_dtype: the checkpoint's type, to which weights that were widened to compute are
            narrowed again, so that the hash does not depend on the machine; None: as loaded.
    """
    config = model.config.to_dict()
    for name in _NOT_IDENTITY:
        config.pop(name, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    seen = set()  # weights that share their memory count once
    for name, given in sorted(model.state_dict().items()):
        absent = given.is_meta
        place = tied.get(name, name) if absent else (given.data_ptr(), tuple(given.shape))
        if place in seen and (absent or given.data_ptr()):
            continue
        seen.add(place)
        tensor = _kept_elsewhere(model, name) if absent else given
        dtype = own_dtype if own_dtype and tensor.is_floating_point() else tensor.dtype
        digest.update(f"{name} {dtype} {tuple(tensor.shape)}".encode())
        for part in tensor.detach().contiguous().flatten().split(_PART_NUMBERS):
            digest.update(part.to("cpu", dtype).contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _kept_elsewhere(model: Any, name: str) -> torch.Tensor:
    """Return a weight that accelerate keeps in memory or on the disk until its layer runs."""
    module, _, weight = name.rpartition(".")
    tensor: torch.Tensor = model.get_submodule(module)._hf_hook.weights_map[weight]
    return tensor
