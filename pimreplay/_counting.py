"""Rows, MACs and row switches of many selections at once, compiled."""

# Compiled functions take their types from their arguments.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment, misc"

import numpy as np
from numba import njit

BLOCKS, ROWS, MACS, SPAN, LAST = range(5)
"""Columns of a count: blocks read, rows opened, MACs, cycles from the first MAC to the last, and
cycles from the last row's first MAC to the last MAC."""

ONES = np.uint64(0x0101010101010101)


@njit(cache=True)
def count(words, words_per_row, macs_per_block, timing, found):
    """Walk the blocks of each point in order and add up its rows; one row is open at a time.

    A word holds eight blocks, or one, each a byte of 0 or 1.
    `timing` is (MAC spacing, MAC to precharge, precharge to activate, activate to MAC, activate to
    precharge, activate to activate, extra cycles of a move that must wait for its bank).
    """
    spacing, to_close, to_open, to_mac, open_time, row_cycle, extra = timing
    points, n_words = words.shape
    for p in range(points):
        n = 0
        rows = 0
        span = np.int64(0)
        reading = np.int64(0)
        for first in range(0, n_words, words_per_row):
            in_row = 0
            for i in range(first, min(first + words_per_row, n_words)):
                # the product's top byte is the sum of the eight
                in_row += np.int64((words[p, i] * ONES) >> np.uint64(56))
            if in_row == 0:
                continue
            if rows:
                close = max(open_time, to_mac + reading + to_close)
                span += max(close + to_open, row_cycle)
            # a group of blocks ends inside the row: its move to this bank comes in between
            inside = (n + in_row - 1) // 16 - n // 16
            reading = (in_row * macs_per_block - 1) * spacing + inside * extra
            n += in_row
            rows += 1
        found[p, BLOCKS] = n
        found[p, ROWS] = rows
        found[p, MACS] = n * macs_per_block
        found[p, SPAN] = span + reading
        found[p, LAST] = reading


@njit(cache=True)
def count_banked(
    blocks, per_row, macs_per_block, slices, slice_rows, first_row,
    banks, group, window, timing, found,
):  # fmt: skip
    """Walk the blocks where consecutive rows lie in different banks, slice after slice.

    Within the `window` of MACs that the controller sees, rows of other banks are read while a bank
    switches rows, so that a stretch between two barriers (a slice, or `group` blocks) takes what
    its MACs take or its busiest bank, whichever is longer.
    """
    spacing, to_close, to_open, to_mac, open_time, row_cycle, _ = timing
    points, n_blocks = blocks.shape
    n_rows = (n_blocks + per_row - 1) // per_row
    last = np.zeros(banks, dtype=np.int64)
    opened = np.zeros(banks, dtype=np.int64)
    done = np.zeros(n_rows + 1, dtype=np.int64)
    upto = np.zeros(n_rows + 1, dtype=np.int64)
    for p in range(points):
        total = 0
        rows = 0
        start = np.int64(0)  # earliest next MAC of this stretch
        end = np.int64(0)  # latest MAC so far
        begin = np.int64(0)
        last[:] = -(1 << 40)
        opened[:] = -(1 << 40)
        for part in range(slices):
            macs = np.int64(0)
            n = 0
            seen = 0
            gate = 0
            for row in range(n_rows):
                in_row = 0
                for b in range(row * per_row, min((row + 1) * per_row, n_blocks)):
                    in_row += blocks[p, b]
                if in_row == 0:
                    continue
                if n // group != (n + in_row - 1) // group and n % group == 0 and n > 0:
                    start = end + spacing  # a barrier
                    macs = 0
                    seen = 0
                    gate = 0
                bank = (first_row + part * slice_rows + row) % banks
                work = in_row * macs_per_block
                while gate < seen and upto[gate] + window <= macs:
                    gate += 1
                visible = done[gate - 1] if gate else start
                close = max(last[bank] + to_close, opened[bank] + open_time)
                activate = max(close + to_open, opened[bank] + row_cycle, visible - to_mac)
                begin = max(visible, activate + to_mac)
                opened[bank] = begin - to_mac
                last[bank] = begin + (work - 1) * spacing
                macs += work
                n += in_row
                end = max(end, last[bank], start + (macs - 1) * spacing)
                done[seen] = end
                upto[seen] = macs
                seen += 1
                rows += 1
            total += n
            start = end + spacing
        found[p, BLOCKS] = total // slices
        found[p, ROWS] = rows
        found[p, MACS] = total * macs_per_block
        found[p, SPAN] = end
        found[p, LAST] = max(end - begin, 0)
