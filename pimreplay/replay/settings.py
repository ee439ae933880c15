"""What belongs to a whole replay and not to one of its points."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to the whole replay and not to a point."""

    dense_layers: int = 2
    fidelity: str = "analytic"
    kv_bits: int = 16
    """Bits of a KV element as the devices store it, whatever type the trace was captured in."""
    kv_quantisation: str = "none"
    """What storing elements in few bits does to their values: `none` or `kivi`."""
    stacks: int = 1
    """Stacks over which the layers are dealt out, each with the channels of its device."""
    layers: tuple[int, ...] | None = None
    """Layers to replay; None: every captured one."""
    seed: int = 0
    device: str = "cpu"
    memory_bytes: int | None = None
    """Bound on the memory of all workers together; None: 1.25 GB a worker."""
    selections: bool | None = False
    """Keep the selections in the results; None: when they are small."""
