"""Rows, MACs and row switches of many selections at once, compiled."""

import numpy as np
from numba import njit

BLOCKS, ROWS, MACS, SPAN, LAST = range(5)
"""Columns of a count: blocks read, rows opened, MACs, cycles from the first MAC to the last, and
cycles from the last row's first MAC to the last MAC."""


@njit(cache=True)
def count(blocks, per_row, macs_per_block, banks, timing, found):
    """Walk the blocks of each point in order and add up its rows.

    `timing` is (MAC spacing, MAC to precharge, precharge to activate, activate to MAC, activate to
    precharge, activate to activate, extra cycles of a move that must wait for its bank). With more
    than one bank in turn the next row opens while this one is read, unless it is in the same bank.
    """
    spacing, to_close, to_open, to_mac, open_time, row_cycle, extra = timing
    points, n_blocks = blocks.shape
    for p in range(points):
        n = 0
        rows = 0
        span = np.int64(0)
        in_row = 0
        row_blocks = 0
        last_bank = -1
        for first in range(0, n_blocks, per_row):
            in_row = 0
            end = min(first + per_row, n_blocks)
            for b in range(first, end):
                in_row += blocks[p, b]
            if in_row == 0:
                continue
            bank = (first // per_row) % banks
            if rows:
                reading = (row_blocks * macs_per_block - 1) * spacing
                if banks == 1 or bank == last_bank:
                    close = max(open_time, to_mac + reading + to_close)
                    span += max(close + to_open, row_cycle)
                else:
                    span += reading + spacing
            # a group of blocks ends inside the row: its move to this bank comes in between
            inside = (n + in_row - 1) // 16 - n // 16
            span += inside * extra
            n += in_row
            rows += 1
            row_blocks = in_row
            last_bank = bank
        last = np.int64(0)
        if rows:
            last = (row_blocks * macs_per_block - 1) * spacing
        found[p, 0] = n
        found[p, 1] = rows
        found[p, 2] = n * macs_per_block
        found[p, 3] = span + last
        found[p, 4] = last
