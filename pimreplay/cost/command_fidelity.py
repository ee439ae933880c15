"""The commands of one KV head's step, at the true addresses of the blocks it reads.

The order is AttAcc's for a round without a partner (see `attention`): the queries, the keys in
groups of 16 blocks, softmax, the probabilities, the values slice by slice. With several query
heads a row is read once for each while it is open.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pimreplay.bank_model.commands import REQUEST_WORDS, AddressMap, Requests
from pimreplay.bank_model.kernel.commands import ACTAB, ACTPB, MACAB, MACPB
from pimreplay.bank_model.scheduler import Scheduler
from pimreplay.cost.analytic_fidelity import BLOCKS_PER_MOVE, Cycles
from pimreplay.hardware.device import Geometry, Hardware

IntArray = NDArray[np.int64]
_NUMBER = {word: number for number, word in enumerate(REQUEST_WORDS)}
_MAC = {"bank": "PIM_MAC_AB", "bg": "PIM_MAC_SB", "buffer": "PIM_MAC_PB"}


class HeadStream:
    """Builds the requests of single steps of one KV head in channel 0."""

    def __init__(self, hardware: Hardware, geometry: Geometry, n_blocks: int, q_heads: int) -> None:
        """Fix the device and the space that `n_blocks` blocks need in each region."""
        self.hardware, self.geometry, self.q_heads = hardware, geometry, q_heads
        self.map = AddressMap.of(hardware.organisation)
        row = geometry.value_blocks_per_row * geometry.interleaved_banks
        self.slice_columns = -(-n_blocks // row) * row
        key_row = geometry.key_blocks_per_row
        self.key_columns = (
            -(-n_blocks // key_row) * hardware.organisation.columns * geometry.interleaved_banks
        )

    def mac_address(self, column: IntArray) -> IntArray:
        """Return the address of a column of a region, columns counted in reading order."""
        org, m = self.hardware.organisation, self.map
        bank = rank = group = np.zeros_like(column)
        row, at = column // org.columns, column % org.columns
        if self.hardware.level == "bg":
            bank, row = row % org.banks, row // org.banks
        elif self.hardware.level == "buffer":
            groups = org.bank_groups * org.ranks
            place, rest = column % groups, column // groups
            rank, group = place // org.bank_groups, place % org.bank_groups
            bank, rest = rest % org.banks, rest // org.banks
            at, row = rest % org.columns, rest // org.columns
        address: IntArray = rank
        for bits, index in (
            (m.bank_group_bits, group),
            (m.bank_bits, bank),
            (m.row_bits, row),
            (m.column_bits, at),
        ):
            address = address << bits | index
        return address << m.offset_bits

    def _offsets(self, banks: int, groups: int, ranks: int) -> list[int]:
        return [
            self.map.address(rank=rank, bank_group=group, bank=bank)
            for bank in range(banks)
            for group in range(groups)
            for rank in range(ranks)
        ]

    def step(self, blocks: NDArray[np.bool_]) -> Requests:
        """Return the requests of reading the blocks (n_blocks,) that are True."""
        org, level, q = self.hardware.organisation, self.hardware.level, self.q_heads
        whole = level == "buffer"
        chosen = np.flatnonzero(blocks).astype(np.int64)
        kinds: list[NDArray[np.uint8]] = []
        addresses: list[IntArray] = []

        def add(word: str, places: IntArray | list[int]) -> None:
            flat = np.asarray(places, dtype=np.int64).reshape(-1)
            kinds.append(np.full(len(flat), _NUMBER[word], dtype=np.uint8))
            addresses.append(flat)

        mac = _MAC[level]
        score_moves = [0] if whole else self._offsets(1, org.bank_groups, org.ranks)
        context_moves = (
            [0] if whole else self._offsets(org.banks if level == "bank" else 1, 1, org.ranks)
        )
        query_banks = org.banks if level == "bank" else 1
        query = [
            self.map.address(bank=bank) + column
            for bank in range(query_banks)
            for column in range(self.geometry.query_writes // query_banks)
        ]
        add("PIM_WR_GB", query * q)
        add("PIM_BARRIER", [0])
        groups = [chosen[i : i + BLOCKS_PER_MOVE] for i in range(0, len(chosen), BLOCKS_PER_MOVE)]
        for index, group in enumerate([*groups, None]):
            if group is not None:
                add(mac, self._keys(group))
            if index > 0:
                add("PIM_MV_SB", score_moves * q)
            if group is not None:
                add("PIM_BARRIER", [0])
        add("PIM_SFM", [0] * q)
        each = -(-len(chosen) // self.geometry.lane_words)
        targets = (
            [0]
            if whole
            else [
                self.map.address(rank=rank, bank_group=group)
                for rank in range(org.ranks)
                for group in range(org.bank_groups)
            ]
        )
        add("PIM_MV_GB", [target + column for target in targets for column in range(each)] * q)
        add("PIM_BARRIER", [0])
        slices = self.geometry.value_slices
        for index in range(slices + 1):
            if index < slices:
                first = self.key_columns + index * self.slice_columns
                add(mac, self._ordered(chosen, self.geometry.value_blocks_per_row, first, 1))
            if index > 0:
                add("PIM_MV_SB", context_moves * q)
            if index < slices:
                add("PIM_BARRIER", [0])
        return Requests(np.concatenate(kinds), np.concatenate(addresses))

    def _keys(self, blocks: IntArray) -> IntArray:
        return self._ordered(blocks, self.geometry.key_blocks_per_row, 0, self.geometry.key_columns)

    def _ordered(self, blocks: IntArray, per_row: int, first: int, columns: int) -> IntArray:
        """Return MAC addresses of blocks, a row once for each query head."""
        columns_per_row = self.hardware.organisation.columns
        if self.hardware.level == "buffer":  # the same row of all banks is open at once
            start = blocks * columns
            row = start // (columns_per_row * self.geometry.interleaved_banks)
        else:
            row = blocks // per_row
            start = row * columns_per_row + blocks % per_row * columns
        column = (start[:, None] + np.arange(columns)) + first
        if self.q_heads > 1:
            head = np.repeat(np.arange(self.q_heads), len(blocks))
            order = np.lexsort((np.tile(blocks, self.q_heads), head, np.tile(row, self.q_heads)))
            column = np.tile(column, (self.q_heads, 1))[order]
        return self.mac_address(column.reshape(-1))


def run(
    hardware: Hardware,
    geometry: Geometry,
    blocks: NDArray[np.bool_],
    q_heads: int,
) -> tuple[Cycles, IntArray]:
    """Return each point's cycles from the scheduler, split as its commands were issued, and rows.

    Rows are activation commands for keys and for values, (2, points). Every point starts on an idle
    device just after a refresh, as a layer does in the reference.
    """
    org = replace(
        hardware.organisation,
        channels=1,
        channel_density_mbit=hardware.organisation.channel_density_mbit,
    )
    stream = HeadStream(hardware, geometry, blocks.shape[1], q_heads)
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
    return Cycles(*parts), rows
