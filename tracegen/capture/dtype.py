"""Which type a model computes in, and which type a trace stores: two choices.

Stored is what a KV cache would hold: 16 bits. Computed is in the same type where the processor has
instructions for it, and in float32 where it would emulate them: attention then reads a cache of
rounded keys and values in float32, so that traces of two machines differ by rounding only.
"""

from dataclasses import dataclass

import torch

from tracegen.base.errors import UserError, nearest

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
# Features of x86 and of Arm processors, as torch names them, by which products are native.
_NATIVE = {
    torch.float16: ("amx_fp16", "avx512_fp16", "fp16_arith"),
    torch.bfloat16: ("amx_bf16", "avx512_bf16", "bf16"),
}


@dataclass(frozen=True, slots=True)
class Types:
    """The type of a loaded model's numbers and that of a trace's vectors."""

    compute: torch.dtype
    stored: torch.dtype


def choose(asked: str, own: torch.dtype | None, device: torch.device) -> Types:
    """Return the types for a checkpoint.

    Args:
        asked: auto, or one type for both.
        own: the checkpoint's own type; None: it states none.
        device: where the model is going to run.

    Raises:
        UserError: `asked` is not a type that a trace can store.
    """
    if asked != "auto":
        if asked not in DTYPES:
            raise UserError(f"--dtype {asked}: {nearest(asked, ['auto', *DTYPES])}")
        return Types(DTYPES[asked], DTYPES[asked])
    # A wider checkpoint is cached in float16, the default of llama.cpp (--cache-type-k).
    if own not in _NATIVE:
        return Types(torch.float32, torch.float16)
    native = device.type != "cpu" or _has_instructions(own)
    return Types(own if native else torch.float32, own)


def _has_instructions(dtype: torch.dtype) -> bool:
    features = torch.cpu.get_capabilities()
    return any(features.get(name) for name in _NATIVE[dtype])
