"""Survive processors that announce bfloat16 tile instructions and then refuse to run them.

Some virtual machines report AMX in CPUID while the hypervisor does not allow it: the first
bfloat16 matrix product then kills the process with an illegal instruction. oneDNN, which torch
uses, stays below AMX when ONEDNN_MAX_CPU_ISA says so before its first use.
"""

import faulthandler
import os
import warnings
from functools import cache

import torch

from tracegen.base.errors import UserError

_VARIABLE = "ONEDNN_MAX_CPU_ISA"
_WITHOUT_AMX = "AVX512_CORE_FP16"


@cache
def make_bfloat16_safe() -> None:
    """Make bfloat16 products usable on this processor, without AMX where AMX is broken.

    Raises:
        UserError: they crash without AMX as well.
    """
    if _VARIABLE in os.environ or not hasattr(os, "fork") or _product_works():
        return
    os.environ[_VARIABLE] = _WITHOUT_AMX
    if not _product_works():
        raise UserError(
            "--dtype bfloat16: this processor cannot multiply bfloat16 matrices; "
            "use --dtype float32"
        )


def _product_works() -> bool:
    """Multiply small bfloat16 matrices in a child process, which may die of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other threads wait for work; the child needs none of them
        child = os.fork()
    if child == 0:
        # The child leaves by _exit: no handlers, no output, whatever happens.
        try:
            faulthandler.disable()
            torch.set_num_threads(1)
            one = torch.ones(64, 64, dtype=torch.bfloat16)
            torch.mm(one, one)
            heads = one[None, None]
            torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)
