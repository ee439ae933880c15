"""HBM-PIM's sparse loop in closed form: sums over tiles, parts and rows.

What one more tile or part takes follows from a few short runs of the command set, one longer than
the other; nothing is fitted. A refresh that falls due on the way costs itself and an activate.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pimreplay.command_sets import hbm_pim as commands
from pimreplay.command_sets.hbm_pim.memory import COLUMNS
from pimreplay.cost.mapping import BoolArray
from pimreplay.cost.step_cost import IntArray
from pimreplay.mappings import _hbm_pim_requests as made

PART_BLOCKS = made.TILE_INPUTS // made.VALUE_BLOCK
ROW_BLOCKS = COLUMNS // made.ACCUMULATORS
"""Blocks of transposed values in a row; a part has two rows."""
ROW_TOKENS = 2 * COLUMNS
"""Tokens whose values by token lie in one row of the even and one of the odd banks."""
RESULT_BLOCKS = COLUMNS
"""Blocks of keys whose scores lie in one row."""
_ONES = np.uint64(0x0101010101010101)
_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_LOW_BYTES = np.uint64(0xFFFFFFFF)


class Counted(NamedTuple):
    """One region of a query head's steps, (points,) each."""

    kernel: IntArray
    """Cycles without the readout and without refreshes."""
    readout: IntArray
    rows: IntArray
    """Rows opened."""
    blocks: IntArray
    after_refresh: int
    """Cycles from a refresh to where the kernel was."""


def kernel_cycles(requests: tuple[IntArray, int], timing: commands.Timing) -> int:
    """Return the cycles of a product without its readout and without refreshes."""
    table, kernel = requests
    ends, _ = commands.phases(table[:kernel], [kernel], timing, refresh=False)
    return int(ends[-1])


def all_cycles(requests: tuple[IntArray, int], timing: commands.Timing) -> int:
    """Return the cycles of a product and its readout without refreshes."""
    return commands.simulate(requests[0], timing, refresh=False).cycles


def with_refreshes(one: "Counted", timing: commands.Timing) -> tuple[IntArray, IntArray]:
    """Return the cycles of the kernel and of everything, refreshes included.

    A refresh takes the kernel its time and an activate, less a precharge where rows change all the
    time; one that falls due while the kernel parks waits for the readout. There it waits until all
    rows happen to be closed, at worst to the end: half of its time is charged.
    """
    interval = timing.n_refi_cycles
    cost = timing.n_rfc_cycles + one.after_refresh
    before = ((one.kernel - park_cycles(timing) - cost) // (interval - cost)).clip(0)
    kernel = one.kernel + before * cost
    reading = (timing.n_rfc_cycles + timing.n_rcdrd_cycles) // 2
    end = kernel + one.readout
    after = ((end - before * interval - reading) // (interval - reading)).clip(0)
    return kernel, end + after * reading


@lru_cache(maxsize=16)
def park_cycles(timing: commands.Timing) -> int:
    """Return the cycles of opening the same row in all banks."""
    return commands.simulate(made.park_requests(), timing, refresh=False).cycles


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """Cycles of the scores."""

    start: int
    tile: IntArray
    """By the blocks of a tile that are touched."""
    rows: int
    """Rows of a tile."""
    read_start: int
    result: IntArray
    """Of a row of scores, by the blocks whose scores it holds."""

    after_refresh: int

    def count(self, blocks: BoolArray) -> Counted:
        """Return cycles and rows of reading blocks (points, n_blocks)."""
        words = _words(blocks, RESULT_BLOCKS)
        tiles = _ones(words)
        results = _ones(words.reshape(len(words), -1, RESULT_BLOCKS // 8).sum(axis=2))
        some = words.any(axis=1)
        return Counted(
            kernel=self.start * some + self.tile[tiles].sum(axis=1),
            readout=self.read_start * some + self.result[results].sum(axis=1),
            rows=(tiles > 0).sum(axis=1) * self.rows,
            blocks=results.sum(axis=1),
            after_refresh=self.after_refresh,
        )


@lru_cache(maxsize=16)
def key_times(timing: commands.Timing, head_dim: int) -> KeyTimes:
    """Return the cycles of tiles, and of rows of scores: two of them less one."""

    def run(blocks: IntArray) -> tuple[int, int]:
        requests = made.key_requests(np.sort(blocks), head_dim)
        kernel = kernel_cycles(requests, timing)
        return kernel, all_cycles(requests, timing) - kernel

    tile, result = [0], [0]
    for count in range(1, RESULT_BLOCKS + 1):
        one = np.arange(count)
        if count <= made.ACCUMULATORS:
            tile.append(run(np.append(one, one + made.ACCUMULATORS))[0] - run(one)[0])
        twice = np.append(one, one + RESULT_BLOCKS)
        result.append(run(np.append(twice, one + 2 * RESULT_BLOCKS))[1] - run(twice)[1])
    kernel, readout = run(np.arange(made.ACCUMULATORS))
    rows = 2 * -(-head_dim // made.TILE_INPUTS)
    return KeyTimes(
        start=kernel - tile[made.ACCUMULATORS],
        tile=np.array(tile),
        rows=rows,
        read_start=readout - result[made.ACCUMULATORS],
        result=np.array(result),
        after_refresh=timing.n_rcdrd_cycles,
    )


@dataclass(frozen=True, slots=True)
class ValueTimes:
    """Cycles of the result over transposed values."""

    start: IntArray
    """(parity of the first part, its blocks); of odd parts it is the same for all."""
    turn: int
    """From the even parts to the odd ones."""
    part: IntArray
    """(parity, twice the blocks of a part, one more where both of its rows are touched)."""
    readout: int

    rows: int
    """Rows that lie side by side for the outputs of a head."""
    after_refresh: int

    def count(self, blocks: BoolArray) -> Counted:
        """Return cycles and rows of reading blocks (points, n_blocks)."""
        words = _words(blocks, 2 * PART_BLOCKS)
        counts = _ones(words)
        low, high = (words & _LOW_BYTES) != 0, (words >> np.uint64(32)) != 0
        kinds = 2 * counts + (low & high)
        even, odd = kinds[:, 0::2], kinds[:, 1::2]
        total = self.part[made.EVEN][even].sum(axis=1) + self.part[made.ODD][odd].sum(axis=1)
        some_even, some_odd = even.any(axis=1), odd.any(axis=1)
        first = np.take_along_axis(even, (even > 0).argmax(axis=1)[:, None], axis=1)[:, 0] // 2
        start = np.where(some_even, self.start[made.EVEN, first], self.start[made.ODD, 1])
        some = some_even | some_odd
        total += start * some + self.turn * (some_even & some_odd)
        rows = (low.sum(axis=1) + high.sum(axis=1)) * self.rows
        return Counted(total, self.readout * some, rows, counts.sum(axis=1), self.after_refresh)


@lru_cache(maxsize=16)
def value_times(timing: commands.Timing, head_dim: int) -> ValueTimes:
    """Return the cycles of parts: two of them less one."""
    tokens = 4 * made.TILE_INPUTS

    def kernel(*blocks: IntArray) -> int:
        requests = made.value_requests(np.sort(np.concatenate(blocks)), tokens, head_dim)
        return kernel_cycles(requests, timing)

    part = np.zeros((2, 2 * (PART_BLOCKS + 1)), dtype=np.int64)
    start = np.zeros((2, PART_BLOCKS + 1), dtype=np.int64)
    for parity in (made.EVEN, made.ODD):
        for count in range(1, PART_BLOCKS + 1):
            together = np.arange(count) + parity * PART_BLOCKS
            apart = together.copy()
            apart[-1] = (parity + 1) * PART_BLOCKS - 1
            for both, own in ((0, together), (1, apart)):
                part[parity, 2 * count + both] = kernel(own, own + 2 * PART_BLOCKS) - kernel(own)
            spans = int(count > ROW_BLOCKS)
            start[parity, count] = kernel(together) - part[parity, 2 * count + spans]
    one = np.arange(1)
    turn = kernel(one, one + PART_BLOCKS) - part[:, 2].sum() - start[made.EVEN, 1]
    requests = made.value_requests(one, tokens, head_dim)
    readout = all_cycles(requests, timing) - kernel_cycles(requests, timing)
    rows = -(-head_dim // made.TILE_OUTPUTS)
    return ValueTimes(start, int(turn), part, readout, rows, timing.n_rcdrd_cycles)


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """Cycles of the result over values by token."""

    start: int
    turn: int
    """From the even tokens to the odd ones."""
    group: int
    """Eight tokens of one row, their upload included."""
    visit: IntArray
    """Of a row that a group shares with others, by its tokens of the group."""
    saved: IntArray
    """Where such a row stays open for the next group, by its tokens of either."""
    readout: int
    after_refresh: int

    def count(self, tokens: BoolArray) -> Counted:
        """Return cycles and rows of reading tokens (points, tokens)."""
        words = _words(tokens, ROW_TOKENS)
        rows = words.reshape(len(words), -1, ROW_TOKENS // 8).sum(axis=2)  # bytes stay below 9
        even, all_tokens = _ones(rows & _EVEN_BYTES), _ones(rows)
        total = np.zeros(len(tokens), dtype=np.int64)
        opened = np.zeros(len(tokens), dtype=np.int64)
        for count in (even, all_tokens - even):
            before = count.cumsum(axis=1) - count
            head = np.minimum(count, -before % made.REGISTERS)
            whole, tail = (count - head) // made.REGISTERS, (count - head) % made.REGISTERS
            cycles = self.visit[head] + self.group * whole + self.visit[tail]
            cycles -= self.saved[head, np.where(whole > 0, made.REGISTERS, tail)]
            total += cycles.sum(axis=1)
            opened += (whole + (head > 0) + (tail > 0)).sum(axis=1)
        some_even, some = even.any(axis=1), all_tokens.any(axis=1)
        both = some_even & (all_tokens > even).any(axis=1)
        total += self.start * some + self.turn * both
        return Counted(
            kernel=total,
            readout=np.asarray(self.readout * some),
            rows=opened,
            blocks=all_tokens.sum(axis=1),
            after_refresh=self.after_refresh,
        )


@lru_cache(maxsize=16)
def token_times(timing: commands.Timing, head_dim: int) -> TokenTimes:
    """Return the cycles of groups: two of them less one; rows follow each other by tRC at least."""

    def kernel(tokens: IntArray) -> int:
        return kernel_cycles(made.value_requests_by_token(np.sort(tokens), head_dim), timing)

    even = 2 * np.arange(made.REGISTERS)
    once, twice = kernel(even), kernel(np.concatenate([even, even + 2 * made.REGISTERS]))
    group = twice - once
    turn = kernel(np.concatenate([even, even + 1])) - twice
    read = np.arange(made.REGISTERS + 1) - 1
    open_cycles = timing.n_rcdrd_cycles + read * timing.n_ccdl_cycles + timing.read_to_precharge
    visit = np.maximum(timing.n_rc_cycles, open_cycles + timing.n_rp_cycles)
    visit[0] = 0
    # the upload's write goes before the row could be closed: its next reads are seen in time
    stays = timing.n_rcdrd_cycles + read * timing.n_ccdl_cycles + timing.read_to_write
    there = stays + timing.write_to_read
    joint = there[:, None] + open_cycles - timing.n_rcdrd_cycles + timing.n_rp_cycles
    saved = (visit[:, None] + np.append(visit[:-1], group) - joint).clip(0)
    saved[stays > timing.n_ras_cycles] = saved[0] = saved[:, 0] = 0
    requests = made.value_requests_by_token(even, head_dim)
    readout = all_cycles(requests, timing) - kernel_cycles(requests, timing)
    return TokenTimes(once - group, turn, group, visit, saved, readout, -timing.n_rp_cycles)


def _words(blocks: BoolArray, run: int) -> NDArray[np.uint64]:
    """Return the blocks as bytes of words, padded to whole runs: (points, words)."""
    missing = -blocks.shape[1] % run
    padded = np.pad(blocks, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(blocks)
    return padded.view(np.uint64)


def _ones(words: NDArray[np.uint64]) -> IntArray:
    """Return the sum of each word's eight bytes: the top byte of a product."""
    return ((words * _ONES) >> np.uint64(56)).view(np.int64)
