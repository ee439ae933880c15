"""What storing a KV cache in few bits does to its values.

`kivi` as Liu et al. (KIVI, ICML 2024, arXiv 2402.02750, section 3): asymmetric round-to-nearest
between the least and the greatest element of a group; keys per channel over groups of 32 tokens,
values per token over groups of 32 channels. Approximated: the paper keeps the most recent tokens
(128 in its code) in full precision, here every token is quantised; and the scales, two 16-bit
numbers a group, are not counted as bytes.
"""

from dataclasses import replace

import torch
from torch import Tensor

from pimreplay.records import KvHeadTrace
from tracegen.base.errors import UserError, nearest

GROUP = 32
QUANTISATIONS = ("none", "kivi")


def check_quantisation(name: object, kv_bits: int) -> None:
    """Check that a name is a quantisation of elements of so many bits.

    Raises:
        UserError: it is not one, or elements so wide need none.
    """
    if name not in QUANTISATIONS:
        raise UserError(f"kv_quantisation {name!r}: unknown; {nearest(str(name), QUANTISATIONS)}")
    if name != "none" and kv_bits > 8:
        raise UserError(
            f"kv_quantisation {name!r}: elements of {kv_bits} bits are not quantised;"
            " give 4 or 8 bits"
        )


def as_stored(head: KvHeadTrace, quantisation: str) -> KvHeadTrace:
    """Return a KV head with its keys and values as the device stores them."""
    if quantisation == "none":
        return head
    levels = 2**head.kv_bits - 1
    return replace(
        head,
        key=rounded(head.key.T.contiguous(), levels).T.contiguous(),
        value=rounded(head.value, levels),
    )


def rounded(vectors: Tensor, levels: int) -> Tensor:
    """Round rows in groups of `GROUP` to `levels` + 1 values each: (rows, elements)."""
    missing = -vectors.shape[1] % GROUP
    # a last group that is not full is padded by its last element, which moves neither bound
    padded = torch.cat([vectors, vectors[:, -1:].expand(-1, missing)], dim=1)
    groups = padded.reshape(len(padded), -1, GROUP)
    least = groups.amin(-1, keepdim=True)
    step = (groups.amax(-1, keepdim=True) - least) / levels
    step = torch.where(step > 0, step, torch.ones_like(step))
    found: Tensor = ((groups - least) / step).round() * step + least
    return found.reshape(len(padded), -1)[:, : vectors.shape[1]].contiguous()
