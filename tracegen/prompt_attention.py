"""Attention weights of a whole prompt, in tiles: their column sums, and outputs where needed.

A policy such as H2O starts from how much attention each token has received. Summing that over all
prompt queries needs every weight once, and none of them twice: a tile of queries at a time, never
prompt x prompt.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from tracegen.schema import DECAY

_TILE_BYTES = 2 << 20  # a tile of float32 weights stays in a core's cache
_TILE_BYTES_CUDA = 1 << 28


def visible_from(row: Tensor, window: int | None) -> Tensor:
    """Return the first token that a query at position `row` sees."""
    if window is None:
        return torch.zeros_like(row)
    return (row - (window - 1)).clamp(min=0)


def attend_in_tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    soft_cap: float | None,
    window: int | None,
) -> Tensor:
    """Attend as transformers' eager attention does, in tiles of queries.

    Args:
        query: (q_heads, new_tokens, head_dim), the last tokens of those in `key`.
        key: (kv_heads, tokens, head_dim).
        value: the same shape.
        scale: factor on query . key.
        soft_cap: logits become cap * tanh(logits / cap).
        window: causal window in tokens.

    Returns:
        (q_heads, new_tokens, head_dim) in the type of `query`.
    """
    group = query.shape[0] // key.shape[0]
    output = torch.empty_like(query)
    for head in range(key.shape[0]):
        heads = slice(head * group, (head + 1) * group)
        for rows, columns in _tiles(query.shape[1], key.shape[1], group, window, query.device):
            logits = torch.matmul(query[heads, rows], key[head, columns].T) * scale
            weight = torch.softmax(
                _mask(_cap(logits, soft_cap), rows, columns, query, key, window),
                dim=-1,
                dtype=torch.float32,
            )
            output[heads, rows] = torch.matmul(weight.to(query.dtype), value[head, columns])
    return output


def column_sums(
    query: Tensor, key: Tensor, scale: float, soft_cap: float | None, window: int | None
) -> tuple[Tensor, Tensor]:
    """Return how much attention each prompt token received from all prompt queries.

    Args:
        query: (q_heads, tokens, head_dim).
        key: (kv_heads, tokens, head_dim).
        scale: factor on query . key.
        soft_cap: logits become cap * tanh(logits / cap).
        window: causal window in tokens.

    Returns:
        Two float32 tensors (q_heads, tokens): the plain sum of the softmax weights over queries,
        and the sum in which the weight of a query t counts 0.98 ** (tokens - 1 - t).
    """
    q_heads, tokens, _ = query.shape
    group = q_heads // key.shape[0]
    age = torch.arange(tokens - 1, -1, -1, device=query.device, dtype=torch.float64)
    factors = torch.stack([torch.ones_like(age), DECAY**age]).float()  # (2, tokens)
    sums = torch.zeros(2, q_heads, tokens, device=query.device)
    for head in range(key.shape[0]):
        heads = slice(head * group, (head + 1) * group)
        keys = key[head].float()
        queries = query[heads].float() * scale
        for rows, columns in _tiles(tokens, tokens, group, window, query.device):
            logits = torch.matmul(queries[:, rows], keys[columns].T)
            logits = _mask(_cap(logits, soft_cap), rows, columns, query, key, window)
            weight = torch.softmax(logits, dim=-1)
            sums[:, heads, columns] += torch.matmul(factors[:, rows], weight).transpose(0, 1)
    return sums[0], sums[1]


def _tiles(
    rows: int, tokens: int, group: int, window: int | None, device: torch.device
) -> Iterator[tuple[slice, slice]]:
    """Yield tiles of queries and the tokens that any query of the tile sees.

    The `rows` queries are the last of `tokens` positions.
    """
    budget = _TILE_BYTES if device.type == "cpu" else _TILE_BYTES_CUDA
    width = tokens if window is None else min(tokens, 2 * window)
    height = max(16, min(1024, budget // (4 * group * width)))
    offset = tokens - rows
    for start in range(0, rows, height):
        stop = min(start + height, rows)
        first = 0 if window is None else max(0, start + offset - window + 1)
        yield slice(start, stop), slice(first, stop + offset)


def _cap(logits: Tensor, soft_cap: float | None) -> Tensor:
    return logits if soft_cap is None else torch.tanh(logits / soft_cap) * soft_cap


def _mask(
    logits: Tensor, rows: slice, columns: slice, query: Tensor, key: Tensor, window: int | None
) -> Tensor:
    """Hide what a query does not see; only the corners of a tile can hold any of that."""
    offset = key.shape[1] - query.shape[1]
    row = torch.arange(rows.start + offset, rows.stop + offset, device=logits.device)[:, None]
    if window is None:
        corner = slice(rows.start + offset - columns.start, None)
        column = torch.arange(columns.start, columns.stop, device=logits.device)[corner]
        logits[..., corner].masked_fill_(column > row, float("-inf"))
        return logits
    column = torch.arange(columns.start, columns.stop, device=logits.device)
    return logits.masked_fill_((column > row) | (column <= row - window), float("-inf"))
