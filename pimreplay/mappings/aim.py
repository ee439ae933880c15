"""GDDR6-AiM: keys one token a bank, values transposed; scores and results leave after each block.

Keys: a block is 16 tokens, one a bank, `head_dim / 16` columns long; a row holds as many blocks as
fit (`packed`), or one (`row_of_16_tokens`, as CENT lays them out for all heads together). Values: a
bank holds the dimensions that are equal modulo 16, a row 1,024 tokens of each; a block is 16 tokens
(the lanes of a column). Source: arkhadem/aim_simulator @ 0f28a07; CENT, ASPLOS 2025.
"""

from typing import Any

import numpy as np

from pimreplay.command_sets import aim
from pimreplay.command_sets.aim.commands import END, MAC, RDMAC, WRGB, WRMAC, done_after
from pimreplay.command_sets.aim.requests import ROWS
from tracegen.base.errors import UserError

BLOCK_TOKENS = 16
LANES = 16
ROW_COLUMNS = 64
WINDOW_TOKENS = ROW_COLUMNS * LANES
"""Tokens whose probabilities fill the global buffer, and a row of values."""
OPTIONS = {"keys": ("packed", "row_of_16_tokens")}
_MASK = 1


def key_requests(blocks: Any, head_dim: int, keys: str) -> Any:
    """Return the requests for the scores of the touched blocks (blocks,), ascending."""
    columns = key_columns(head_dim)
    per_row = ROW_COLUMNS // columns if keys == "packed" else 1
    requests = [(WRGB, columns, 0, _MASK)]
    for block in np.asarray(blocks).tolist():
        requests.append((WRMAC, 1, 0, _MASK))
        requests.append((MAC, columns, _row(block // per_row), _MASK))
        requests.append((RDMAC, 1, 0, _MASK))
    return np.array([*requests, (END, 1, 0, _MASK)], dtype=np.int64)


def value_requests(blocks: Any, head_dim: int) -> Any:
    """Return the requests for the result over the touched blocks (blocks,), ascending."""
    slices = key_columns(head_dim)
    window, counts = np.unique(
        np.asarray(blocks) * BLOCK_TOKENS // WINDOW_TOKENS, return_counts=True
    )
    requests = []
    for number, count in zip(window.tolist(), counts.tolist(), strict=True):
        requests.append((WRGB, count, 0, _MASK))
        for part in range(slices):
            requests.append((WRMAC, 1, 0, _MASK))
            requests.append((MAC, count, _row(number * slices + part), _MASK))
            requests.append((RDMAC, 1, 0, _MASK))
    return np.array([*requests, (END, 1, 0, _MASK)], dtype=np.int64)


def key_columns(head_dim: int) -> int:
    """Return the columns of one key, which are also the rows of one window of values."""
    columns = -(-head_dim // LANES)
    if not 1 <= columns <= ROW_COLUMNS:
        raise UserError(
            f"aim: head_dim {head_dim}: a row has {ROW_COLUMNS * LANES} elements; "
            f"use a head_dim of 1 to {ROW_COLUMNS * LANES}"
        )
    return columns


def attention(
    tokens: int, read: Any, head_dim: int, timing: aim.Timing, keys: str = "packed"
) -> dict[str, Any]:
    """Return cycles by phase and commands of one head's attention.

    `read` (tokens read,) are ascending positions, None for all: then every block is touched.
    """
    every = np.arange(-(-tokens // BLOCK_TOKENS))
    blocks = every if read is None else np.unique(np.asarray(read) // BLOCK_TOKENS)
    regions = {
        "keys": aim.simulate(key_requests(blocks, head_dim, keys), timing),
        "values": aim.simulate(value_requests(blocks, head_dim), timing),
    }
    latency = done_after(timing)
    readout = int(latency[RDMAC]) + 1
    phases = {"keys": 0, "values": 0, "mode": 0, "readout": 0}
    for name, outcome in regions.items():
        mode = outcome.commands.get("TMOD", 0) * timing.n_modch_cycles
        read_cycles = outcome.commands.get("RDMAC16", 0) * readout
        phases["mode"] += mode
        phases["readout"] += read_cycles
        phases[name] += outcome.cycles - mode - read_cycles
    touched = {"keys": len(blocks), "values": len(blocks)}
    return {
        "phases": phases,
        "regions": {
            name: {"cycles": one.cycles, "blocks": touched[name], "commands": one.commands}
            for name, one in regions.items()
        },
    }


def _row(number: int) -> int:
    if number >= ROWS:
        raise UserError(f"aim: the tokens need more than the {ROWS} rows of a bank; use fewer")
    return number
