"""Attention of a whole prompt, in tiles of queries: its output and the column sums of its weights.

A policy such as H2O starts from how much attention each token has received. Libraries attend
without showing the weights, and computing them a second time would take as long as the attention
itself; here each weight is computed once, for both, and never are all of them in memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from tracegen.trace.schema import DECAY

_TILE_BYTES = 6 << 20  # float32 weights: few enough for the caches, enough to hide the calls
_TILE_BYTES_CUDA = 1 << 28
_SAFE_EXPONENT = 70  # e ** 70 times ten million tokens is within float32, whose end is e ** 88


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
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attend, and add up how much attention each token receives from all queries.

    Everything is computed in float32, whatever the type of the tensors.

    Args:
        query: (q_heads, new_tokens, head_dim), the last tokens of those in `key`.
        key: (kv_heads, tokens, head_dim).
        value: the same shape.
        scale: factor on query . key.
        soft_cap: logits become cap * tanh(logits / cap).
        window: causal window in tokens.
        sink: logits that join the softmax beside the tokens', (q_heads,); they have no value.

    Returns:
        The output, (q_heads, new_tokens, head_dim) in the type of `query`, and two float32 tensors
        (q_heads, tokens): the plain sum of the softmax weights over queries, and the sum in which
        the weight of a query t counts 0.98 ** (new_tokens - 1 - t).
    """
    q_heads, new_tokens, head_dim = query.shape
    kv_heads, tokens, _ = key.shape
    group, device = q_heads // kv_heads, query.device
    age = torch.arange(new_tokens - 1, -1, -1, device=device, dtype=torch.float64)
    factors = torch.stack([torch.ones_like(age), DECAY**age]).float()  # (2, new_tokens)
    output = torch.empty_like(query)
    sums = torch.zeros(q_heads, 2, tokens, device=device)
    tile = torch.empty(0, device=device)
    for head in range(kv_heads):
        heads = slice(head * group, (head + 1) * group)
        queries, keys, values = query[heads].float() * scale, key[head].float(), value[head].float()
        safe = _bounded(queries, keys) if soft_cap is None else soft_cap < _SAFE_EXPONENT
        extra = None if sink is None else sink[heads].float()[:, None]  # (group, 1)
        for rows, columns in _tiles(new_tokens, tokens, group, window, device):
            logits, tile = _logits(queries[:, rows], keys[columns], tile)
            if soft_cap is not None:
                logits.div_(soft_cap).tanh_().mul_(soft_cap)
            small = (safe or _small(logits)) and (extra is None or _small(extra))
            offset = tokens - new_tokens
            weight, total = _weights(logits, rows, columns, offset, window, small, extra)
            mixed = torch.mm(weight.flatten(0, 1), values[columns]).view(group, -1, head_dim)
            output[heads, rows] = mixed.div_(total[..., None])
            share = factors[:, rows] / total[:, None]  # (group, 2, rows)
            sums[heads, :, columns] += torch.bmm(share, weight)
    return output, sums[:, 0], sums[:, 1]


def _logits(queries: Tensor, keys: Tensor, tile: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of a tile, (group, rows, columns), and the memory that they lie in.

    The same memory serves every tile: fresh pages would cost as much as the powers.
    """
    group, n_rows, _ = queries.shape
    size = group * n_rows * len(keys)
    if tile.numel() < size:
        tile = torch.empty(size, device=queries.device)
    logits = tile[:size].view(group * n_rows, len(keys))
    # one product of two matrices, many times faster than one a query head
    torch.mm(queries.flatten(0, 1), keys.T, out=logits)
    return logits.view(group, n_rows, len(keys)), tile


def _bounded(queries: Tensor, keys: Tensor) -> bool:
    """Return whether no logit can be far from zero: |q . k| <= |q| |k|."""
    most = torch.linalg.vecdot(queries, queries).amax() * torch.linalg.vecdot(keys, keys).amax()
    return bool(most < _SAFE_EXPONENT**2)


def _small(logits: Tensor) -> bool:
    """Return whether no logit is far from zero: cheaper than each row's maximum subtracted."""
    return bool((logits.amax() < _SAFE_EXPONENT) & (logits.amin() > -_SAFE_EXPONENT))


def _weights(
    logits: Tensor,
    rows: slice,
    columns: slice,
    offset: int,
    window: int | None,
    safe: bool,
    sink: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return softmax weights before their division by the row's total, and the totals.

    `logits` (group, rows, columns) are overwritten. Where all of them are known to be small, the
    usual subtraction of each row's maximum is left out: it only guards against overflow and costs
    as much as the powers.
    """
    if safe and window is None:
        weight = torch.exp(logits, out=logits)
        weight[..., -weight.shape[1] :].tril_()  # many times faster than a mask
        return weight, weight.sum(dim=-1) + (0 if sink is None else sink.exp())
    hidden = _hidden(rows, columns, offset, window, logits.device)
    if not safe:
        logits[..., -hidden.shape[-1] :].masked_fill_(hidden, float("-inf"))
        top = logits.amax(dim=-1, keepdim=True)
        if sink is not None:
            top = torch.maximum(top, sink[..., None])
            sink = sink - top[..., 0]
        logits -= top
    weight = torch.exp(logits, out=logits)
    if safe:
        weight *= ~hidden  # several times faster than masked_fill_
    return weight, weight.sum(dim=-1) + (0 if sink is None else sink.exp())


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


def _hidden(
    rows: slice, columns: slice, offset: int, window: int | None, device: torch.device
) -> Tensor:
    """Return which of a tile's last columns a query does not see, (rows, last columns).

    Query `rows.start` is at position `rows.start + offset`. Without a window only the triangle at
    the end of the tile can be hidden.
    """
    row = torch.arange(rows.start + offset, rows.stop + offset, device=device)[:, None]
    first = columns.start if window is not None else columns.stop - len(row)
    column = torch.arange(first, columns.stop, device=device)
    return (column > row) | (column < visible_from(row, window))
