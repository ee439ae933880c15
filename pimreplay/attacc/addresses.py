"""Where AttAcc's trace generators put the keys, values and buffers of a layer.

Their rounding of regions is included: scale-snu/attacc_simulator @ c600051, trace_gen.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pimreplay.attacc.shape import ARTEFACT_MAX_TOKENS, AttentionShape
from pimreplay.bank_model.address_map import AddressMap
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Hardware

IntArray = NDArray[np.int64]

VALUE_OFFSET = 1 << 23
"""Bytes from the keys' to the values' region in a bank, and on to the clustering scratch."""


@dataclass(slots=True)
class Round:
    """Addresses of one round: every array's last axis is the channel."""

    valid: int
    query_writes: IntArray
    score_macs: IntArray  # (blocks, MACs a block, channels)
    score_moves: IntArray  # one move of 16 blocks' scores: (moves, channels)
    softmax: IntArray
    context_writes: IntArray  # (moves, channels)
    context_macs: IntArray  # (slices, blocks, channels)
    context_moves: IntArray  # after one slice: (moves, channels)

    @property
    def score_groups(self) -> int:
        """Groups of blocks whose scores move together."""
        return ceil(len(self.score_macs) / BLOCKS_PER_MOVE)


class Addresses:
    """Where the generators put keys, values and buffers, in bytes."""

    def __init__(self, hardware: Hardware, shape: AttentionShape) -> None:
        org = hardware.organisation
        m = AddressMap.of(org)
        self.org, self.shape = org, shape
        self.column = org.access_bytes
        self.row = m.address(row=1)
        self.bank = m.address(bank=1)
        self.bank_group = m.address(bank_group=1)
        self.rank = m.address(rank=1)
        self.channel = m.address(channel=1)
        self.words = org.access_bytes // shape.element_bytes
        self.level = hardware.level
        self.lanes = self.level.lanes(org)
        self.columns = ceil(shape.head_dim / self.level.vector_banks(org) / self.words)
        longest = shape.max_tokens
        if longest is None:
            starc = shape.kv_budget is not None
            longest = max(ARTEFACT_MAX_TOKENS if starc else 4096, shape.tokens)
        self.partition = ceil(longest * shape.head_dim / org.channel_banks)
        self.channels = np.arange(org.channels, dtype=np.int64) * self.channel

    def place(self, offsets: IntArray | list[int], valid: int) -> IntArray:
        """Return offsets in every valid channel: one axis more."""
        return np.asarray(offsets, dtype=np.int64)[..., None] + self.channels[:valid]

    def mac(self, index: IntArray) -> IntArray:
        """Return the offset of the index-th column that MACs read in order."""
        org = self.org
        at = self.level.place(index, org)
        # rows continue into the bits above where a region is larger than a bank
        offset: IntArray = (
            at.rank * self.rank + at.bank_group * self.bank_group + at.bank * self.bank
        )
        return offset + at.row * self.row + at.column * self.column

    def gemv_offsets(self, tokens: int) -> list[int]:
        """Moves of the probabilities of so many tokens to the GEMV buffers, one channel."""
        count = ceil(tokens / (self.lanes * self.words))
        return [
            rank * self.rank + group * self.bank_group + column
            for rank, group in self.level.gemv_targets(self.org)
            for column in range(count)
        ]

    def score_move_offsets(self) -> list[int]:
        """Return the moves of 16 blocks' scores, one channel."""
        return [r * self.rank + g * self.bank_group for r, g in self.level.score_moves(self.org)]

    def context_move_offsets(self) -> list[int]:
        """Return the moves of one value slice's sums, one channel."""
        return [bank * self.bank + r * self.rank for bank, r in self.level.context_moves(self.org)]

    def query_offsets(self) -> list[int]:
        """Return the writes of a query, one channel."""
        banks = self.level.vector_banks(self.org)
        return [bank * self.bank + c for bank in range(banks) for c in range(self.columns)]

    def round(self, index: int, valid: int) -> Round:
        """Return the addresses of a round with so many valid channels."""
        tokens = self.shape.read_tokens
        blocks = ceil(tokens / self.lanes)
        keys = index * self.partition
        values = keys + VALUE_OFFSET
        macs = np.arange(blocks * self.columns, dtype=np.int64)
        return Round(
            valid=valid,
            query_writes=self.place(self.query_offsets(), valid) + keys,
            score_macs=self.place(self.mac(macs).reshape(blocks, self.columns), valid) + keys,
            score_moves=self.place(self.score_move_offsets(), valid) + keys,
            softmax=self.channels[:valid],
            context_writes=self.place(self.gemv_offsets(tokens), valid) + values,
            context_macs=self.place(self.mac(macs).reshape(self.columns, blocks), valid) + values,
            context_moves=self.place(self.context_move_offsets(), valid) + values,
        )
