"""Attention of one decoder block on AttAcc's PIM stacks: one scheduled layer, and its energy.

Source: scale-snu/attacc_simulator @ c600051, src/devices.py (class PIM), src/ramulator_wrapper.py
and src/config.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from pimreplay.system.gpu import Cost
from pimreplay.system.layers import PIM_LINK, SOFTMAX, Layer

NODES, STACKS_PER_NODE, STACK_BYTES = 8, 5, 16 << 30
STACK_BYTES_PER_S = 670.4e9
"""Interface of a stack; softmax units keep up with it, an operation a byte."""
LINK_BYTES_PER_S = 600e9
"""The source takes the A100's link for every GPU."""
INTERNAL_SCALE = {
    (False, "bank"): 16.0, (False, "bg"): 8.0, (False, "buffer"): 1.0,
    (True, "bank"): 9.0, (True, "bg"): 3.0, (True, "buffer"): 1.0,
}  # fmt: skip
"""Internal over external bandwidth, by power limit and mode."""
_ACCESS_BYTES, _T_CK_NS = 32, 0.769
_BANKS = {"bank": 64, "bg": 16, "buffer": 2}
"""Banks of a channel that one MAC command reads."""
_CELL_PJ_PER_BIT = {"bank": 0.55, "bg": 0.55 + 1.01, "buffer": 0.55 + 1.01 + 1.23 + 0.5}
_INTERPOSER, _TSV, _GLOBAL_IO, _BANK_GROUP = 0.3, 0.5, 1.23, 1.01
"""pJ per bit; O'Connor et al., Fine-Grained DRAM, MICRO 2017."""
_MAC_PJ, _SRAM_PJ_PER_BYTE, _LINK_PJ_PER_BYTE = 0.32, 0.0034, 10.4


@dataclass(frozen=True, slots=True)
class Pim:
    """AttAcc's stacks: where their MAC units are and how their energy is counted.

    `attacc` accounting repeats that program: the data path's pJ per bit multiply bytes, buffer
    level reads one pseudo-channel, and only the products of scores are charged. `physical` puts
    those right and takes the link of the GPU.
    """

    mode: str
    power_limit: bool
    physical: bool
    link_bytes_per_s: float

    @property
    def bytes_per_s(self) -> float:
        """Internal bandwidth of a node."""
        scale = INTERNAL_SCALE[self.power_limit, self.mode]
        return STACK_BYTES_PER_S * scale * STACKS_PER_NODE

    @property
    def memory_bytes(self) -> int:
        """Capacity of all nodes."""
        return NODES * STACKS_PER_NODE * STACK_BYTES

    def layer_cost(self, layer: Layer) -> Cost:
        """Return what a layer of the attention part costs on every node at once."""
        if layer.kind == PIM_LINK:
            sent = layer.bytes_sent
            one_way = self.link_bytes_per_s / 2
            return Cost(sent / one_way, link_pj=NODES * sent * _LINK_PJ_PER_BYTE)
        if layer.kind == SOFTMAX:
            rate = STACK_BYTES_PER_S * STACKS_PER_NODE
            compute_s = layer.flops / (rate * int(2 / layer.word_bytes))
            return Cost(
                max(compute_s, layer.bytes_moved / rate),
                memory_pj=NODES * layer.bytes_moved * _SRAM_PJ_PER_BYTE,
                mac_pj=NODES * layer.flops / 2 * _MAC_PJ,
            )
        mac_pj = NODES * layer.flops / 2 * _MAC_PJ
        if layer.name == "context":  # its time and memory energy are those of the whole layer
            return Cost(0.0, mac_pj=mac_pj if self.physical else 0.0)
        heads, group = ceil(layer.count / STACKS_PER_NODE), layer.m
        device = (self.mode, self.power_limit, int(layer.k))
        run = _attention(*device, heads, int(layer.n), layer.word_bytes)
        longer = _group_ratio(*device, int(layer.n), layer.word_bytes, group)
        counts = run["requests"]
        writes = counts.get("pim_write_to_gemv_buffer", 0)
        moves = counts.get("pim_move_to_softmax_buffer", 0) + counts.get(
            "pim_move_to_gemv_buffer", 0
        )
        macs = sum(count for name, count in counts.items() if name.startswith("pim_mac"))
        banks = 1 if self.mode == "buffer" and not self.physical else _BANKS[self.mode]
        path = writes * _INTERPOSER + (writes + moves) * (_TSV + _GLOBAL_IO + _BANK_GROUP)
        bits = 8 if self.physical else 1
        memory_pj = (
            group * _ACCESS_BYTES * (bits * path + 8 * macs * banks * _CELL_PJ_PER_BIT[self.mode])
        )
        return Cost(
            _T_CK_NS * run["cycles"] * longer / 1e9,
            memory_pj=NODES * STACKS_PER_NODE * memory_pj,
            mac_pj=mac_pj,
        )


@lru_cache(maxsize=4096)
def _attention(
    mode: str, power_limit: bool, head_dim: int, heads: int, tokens: int, word_bytes: int
) -> dict[str, Any]:
    """Schedule the attention of `heads` heads of one stack over `tokens` tokens."""
    from pimreplay.attacc.layer import attention_layer

    return attention_layer(
        hardware_name=None,
        mode=mode,
        head_dim=head_dim,
        heads=heads,
        tokens=tokens,
        element_bytes=word_bytes,
        timing="HBM3_5.2Gbps" if power_limit else "HBM3_5.2Gbps_NPC",
    )


@lru_cache(maxsize=4096)
def _group_ratio(
    mode: str, power_limit: bool, head_dim: int, tokens: int, word_bytes: int, group: int
) -> float:
    """Return how much longer a KV head takes for a group of queries than for one.

    Each block is multiplied once for each query while its row is open (`pimreplay.cost`).
    """
    if group == 1:
        return 1.0
    from pimreplay.attacc.layer import device
    from pimreplay.cost.step_cost import step_cost

    timing = "HBM3_5.2Gbps" if power_limit else "HBM3_5.2Gbps_NPC"
    geometry = device(None, mode, timing, None).geometry(head_dim, 8 * word_bytes)
    every = np.ones((1, -(-tokens // geometry.block_tokens)), dtype=np.bool_)
    many, one = (step_cost(geometry, every, queries).cycles[0] for queries in (group, 1))
    return float(many / one)
