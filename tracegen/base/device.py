"""The torch device that a command works on."""

from typing import TYPE_CHECKING

from tracegen.base.errors import UserError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> "torch.device":
    """Return a torch device by name; auto is CUDA where there is one, else the processor.

    Raises:
        UserError: an unknown device, or one that this machine lacks.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"device {name}: not usable here ({reason}); allowed: auto, cpu, and cuda on a "
            "machine that has it"
        ) from error
    return found
