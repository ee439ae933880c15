"""What belongs to a whole replay and not to one of its points."""

from dataclasses import dataclass

from pimreplay.cost.fidelity import check_fidelity
from pimreplay.hardware.device import check_kv_bits
from pimreplay.selection.quantisation import check_quantisation
from tracegen.base.errors import UserError

LEAST = {"dense_layers": 0, "stacks": 1, "seed": 0}
"""Least values of the whole numbers that a user gives."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to the whole replay and not to a point.

    Raises:
        UserError: a value that no replay can have, whoever gave it.
    """

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

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{name} = {value!r}; give a whole number of at least {least}")
        check_fidelity(self.fidelity)
        check_kv_bits(self.kv_bits, "kv_bits")
        check_quantisation(self.kv_quantisation, self.kv_bits)
