"""The commands of one KV head's step, at the true addresses of the blocks it reads, scheduled.

The order is AttAcc's for a round without a partner (see `pimreplay.attacc`): the queries, the keys
in groups of 16 blocks, softmax, the probabilities, the values slice by slice. With several query
heads a row is read once for each while it is open.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.address_map import AddressMap
from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from pimreplay.bank_model.kernel.commands import ACTAB, ACTPB, MACAB, MACPB
from pimreplay.bank_model.scheduler import Scheduler
from pimreplay.cost.counts import Counts, Cycles, count
from pimreplay.cost.walks.parameters import BLOCKS_PER_MOVE
from pimreplay.hardware.device import Geometry

IntArray = NDArray[np.int64]
_NUMBER = {word: number for number, word in enumerate(REQUEST_WORDS)}


class HeadStream:
    """Builds the requests of single steps of one KV head in channel 0."""

    def __init__(self, geometry: Geometry, n_blocks: int, q_heads: int) -> None:
        """Fix the device and the space that `n_blocks` blocks need in each region."""
        self.geometry, self.q_heads = geometry, q_heads
        self.org, self.level = geometry.hardware.organisation, geometry.hardware.level
        self.map = AddressMap.of(self.org)
        row = geometry.value_blocks_per_row * geometry.interleaved_banks
        self.slice_columns = -(-n_blocks // row) * row
        key_rows = -(-n_blocks // geometry.key_blocks_per_row)
        self.key_columns = key_rows * self.org.columns * geometry.interleaved_banks

    def mac_address(self, column: IntArray) -> IntArray:
        """Return the address of a column of a region, columns counted in reading order."""
        m, place = self.map, self.level.place(column, self.org)
        address = place.rank
        for bits, index in (
            (m.bank_group_bits, place.bank_group),
            (m.bank_bits, place.bank),
            (m.row_bits, place.row),
            (m.column_bits, place.column),
        ):
            address = address << bits | index
        return address << m.offset_bits

    def step(self, blocks: NDArray[np.bool_]) -> Requests:
        """Return the requests of reading the blocks (n_blocks,) that are True."""
        org, level, q = self.org, self.level, self.q_heads
        chosen = np.flatnonzero(blocks).astype(np.int64)
        kinds: list[NDArray[np.uint8]] = []
        addresses: list[IntArray] = []

        def add(word: str, places: IntArray | list[int]) -> None:
            flat = np.asarray(places, dtype=np.int64).reshape(-1)
            kinds.append(np.full(len(flat), _NUMBER[word], dtype=np.uint8))
            addresses.append(flat)

        def stages(macs: list[IntArray], moves: list[int]) -> None:
            """MACs group by group, each group's sums moved behind the MACs of the next."""
            for index, group in enumerate([*macs, None]):
                if group is not None:
                    add(level.mac_request, group)
                if index > 0:
                    add("PIM_MV_SB", moves * q)
                if group is not None:
                    add("PIM_BARRIER", [0])

        at = self.map.address
        query = [
            at(bank=bank) + column
            for bank in range(level.vector_banks(org))
            for column in range(self.geometry.key_columns)
        ]
        add("PIM_WR_GB", query * q)
        add("PIM_BARRIER", [0])
        groups = [chosen[i : i + BLOCKS_PER_MOVE] for i in range(0, len(chosen), BLOCKS_PER_MOVE)]
        stages(
            [self._keys(group) for group in groups],
            [at(rank=rank, bank_group=group) for rank, group in level.score_moves(org)],
        )
        add("PIM_SFM", [0] * q)
        each = -(-len(chosen) // self.geometry.lane_words)
        targets = [at(rank=rank, bank_group=group) for rank, group in level.gemv_targets(org)]
        add("PIM_MV_GB", [target + column for target in targets for column in range(each)] * q)
        add("PIM_BARRIER", [0])
        stages(
            [self._values(chosen, index) for index in range(self.geometry.value_slices)],
            [at(bank=bank, rank=rank) for bank, rank in level.context_moves(org)],
        )
        return Requests(np.concatenate(kinds), np.concatenate(addresses))

    def _keys(self, blocks: IntArray) -> IntArray:
        return self._ordered(blocks, self.geometry.key_blocks_per_row, 0, self.geometry.key_columns)

    def _values(self, blocks: IntArray, index: int) -> IntArray:
        first = self.key_columns + index * self.slice_columns
        return self._ordered(blocks, self.geometry.value_blocks_per_row, first, 1)

    def _ordered(self, blocks: IntArray, per_row: int, first: int, columns: int) -> IntArray:
        """Return MAC addresses of blocks, a row once for each query head."""
        columns_per_row, banks = self.org.columns, self.geometry.interleaved_banks
        if banks > 1:  # the same row of all banks is open at once
            start = blocks * columns
            row = start // (columns_per_row * banks)
        else:
            row = blocks // per_row
            start = row * columns_per_row + blocks % per_row * columns
        column = (start[:, None] + np.arange(columns)) + first
        if self.q_heads > 1:
            head = np.repeat(np.arange(self.q_heads), len(blocks))
            order = np.lexsort((np.tile(blocks, self.q_heads), head, np.tile(row, self.q_heads)))
            column = np.tile(column, (self.q_heads, 1))[order]
        return self.mac_address(column.reshape(-1))


def evaluate(geometry: Geometry, blocks: NDArray[np.bool_], q_heads: int) -> tuple[Counts, Cycles]:
    """Count and schedule reading `blocks` (points, n_blocks) for `q_heads` queries.

    Cycles are split as the commands were issued. Every point starts on an idle device just after a
    refresh, as a layer does in the reference.
    """
    hardware = geometry.hardware
    org = replace(hardware.organisation, channels=1)
    stream = HeadStream(geometry, blocks.shape[1], q_heads)
    parts = np.zeros((4, len(blocks)), dtype=np.int64)
    rows = np.zeros((2, len(blocks)), dtype=np.int64)
    for point, chosen in enumerate(blocks):
        if not chosen.any():
            continue
        requests = stream.step(chosen)
        scheduler = Scheduler(
            org,
            hardware.timing,
            refresh=hardware.refresh,
            fold=False,
            log_commands=4 * len(requests) + 1000,
        )
        scheduler.feed(requests)
        total = scheduler.finish().cycles
        clock, _, command, bank, row = scheduler.log().T
        place = row * org.channel_banks + bank
        mac = (command >= MACAB) & (command <= MACPB)
        macs, places = clock[mac], place[mac]
        n_key = len(macs) - geometry.value_slices * int(chosen.sum()) * q_heads
        parts[0, point] = macs[n_key - 1]
        parts[1, point] = 1
        parts[2, point] = macs[-1] - macs[n_key]
        parts[3, point] = total - parts[:3, point].sum()
        opened = place[(command >= ACTAB) & (command <= ACTPB)]
        rows[0, point] = np.isin(opened, places[:n_key]).sum()
        rows[1, point] = len(opened) - rows[0, point]
    return count(geometry, q_heads, blocks.sum(axis=1), rows), Cycles(*parts)
