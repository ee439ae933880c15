"""Requests and commands of the bank model.

A *request* is one line of a command trace. It ends with one *command* on the DRAM bus, preceded by
whatever opens its row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REQUESTS = {
    "LD": "read",
    "ST": "write",
    "PIM_MAC_AB": "pim_mac_all_bank",
    "PIM_MAC_SB": "pim_mac_same_bank",
    "PIM_MAC_PB": "pim_mac_per_bank",
    "PIM_WR_GB": "pim_write_to_gemv_buffer",
    "PIM_MV_SB": "pim_move_to_softmax_buffer",
    "PIM_MV_GB": "pim_move_to_gemv_buffer",
    "PIM_SFM": "pim_softmax",
    "PIM_SET_MODEL": "pim_set_model",
    "PIM_SET_HEAD": "pim_set_head",
    "PIM_BARRIER": "pim_barrier",
}
"""Word in a command trace -> name in results. A request's number is its position here."""

REQUEST_WORDS = tuple(REQUESTS)
COMMANDS = (
    "ACT",
    "PRE",
    "PREA",
    "PRESB",
    "PREPB",
    "RD",
    "WR",
    "REFab",
    "ACTAB",
    "ACTSB",
    "ACTPB",
    "MACAB",
    "MACSB",
    "MACPB",
    "WRGB",
    "MVSB",
    "MVGB",
    "SFM",
    "SETM",
    "SETH",
    "BARRIER",
)
"""Commands of the device; a command's number is its position here."""

DATA = len(COMMANDS)
"""Number of the data bus, a resource that all commands in `DATA_COMMANDS` share."""

DATA_COMMANDS = ("RD", "WR", "WRGB", "MVSB", "MVGB", "SFM")
FINAL_COMMANDS = (
    *("RD", "WR", "MACAB", "MACSB", "MACPB", "WRGB", "MVSB", "MVGB", "SFM"),
    *("SETM", "SETH", "BARRIER"),
)
"""The command that ends each request, in the order of `REQUESTS`."""


@dataclass(frozen=True, slots=True)
class Requests:
    """A command trace in memory: request numbers and byte addresses, each (requests,)."""

    kind: NDArray[np.uint8]
    address: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)


def count_requests(totals: NDArray[np.int64]) -> dict[str, int]:
    """Return counts by request number as a dict of names, without barriers and zeros."""
    return {
        name: int(total)
        for name, total in zip(REQUESTS.values(), totals, strict=True)
        if total and name != "pim_barrier"
    }
