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


def weights_sha256(model: Any) -> str:
    """Return the hash of a model's configuration and of every weight, as loaded."""
    config = model.config.to_dict()
    for name in _NOT_IDENTITY:
        config.pop(name, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().contiguous().flatten().view(torch.uint8)
        for part in flat.split(1 << 26):
            digest.update(part.cpu().numpy())
    return digest.hexdigest()
