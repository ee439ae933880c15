"""Models, GPUs and the constants of AttAcc's system model, with their sources."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError, nearest

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Model:
    """Shape of a language model; sizes in elements."""

    name: str
    layers: int
    hidden: int
    q_heads: int
    kv_heads: int
    head_dim: int
    feedforward_ratio: float
    """Inner size of the feed-forward part over `hidden`."""
    feedforward: str
    """`gelu` or `relu` with two matrices, `swiglu` with three."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; rates are peaks, in bytes or operations per second."""

    name: str
    cores: int
    flops_per_s: float
    memory_bytes: int
    memory_bytes_per_s: float
    l1_bytes_per_core: int
    l2_bytes: int
    link_bytes_per_s: float
    """Both directions together."""


def load_model(name: str) -> Model:
    """Return a model by name; `UserError` names the known ones."""
    values = _entry("models.toml", "model", name)
    above, below = values.pop("feedforward_ratio")
    return Model(name=name, feedforward_ratio=above / below, **values)


def load_gpu(name: str) -> Gpu:
    """Return a GPU by name; `UserError` names the known ones."""
    return Gpu(name=name, **_entry("gpus.toml", "GPU", name))


def _entry(file: str, kind: str, name: str) -> dict[str, Any]:
    entries = tomllib.loads((FOLDER / file).read_text(encoding="utf-8"))
    if name not in entries:
        raise UserError(f"{kind} {name!r} is unknown; {nearest(name, entries)}")
    return {key: value for key, value in entries[name].items() if key != "source"}
