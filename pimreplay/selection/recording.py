"""Selections that were made elsewhere, read from a file: what `recorded` replays.

`.npz`, for each layer N:

- `selected_layer_N`: the kept tokens, np.packbits along the last axis of a boolean array
  (query heads, steps, tokens), as `pimreplay select` writes them;
- `group_layer_N`, optional: (KV heads, tokens) whole numbers, the group of each prompt token for
  layouts that store groups together, -1 for none; those with one follow each other;
- any field of `Overhead`, optional, for example `scored_bytes_layer_N`: (KV heads, steps).

`.parquet`: one row for each layer, query head and step, with the columns `layer`, `query_head`,
`step` (whole numbers from 0) and `tokens` (a list of positions).
"""

import dataclasses
import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from pimreplay.records import Groups, KvHeadTrace, Overhead
from pimreplay.selection.clusters import ranks
from pimreplay.selection.visibility import seen_mask
from tracegen.base.errors import UserError

FIELDS = tuple(field.name for field in dataclasses.fields(Overhead))


def file_sha256(path: Path) -> str:
    """Return the hash of a recording.

    Raises:
        UserError: there is no such file, or it is not of a kind that holds recordings.
    """
    if path.suffix not in (".npz", ".parquet"):
        raise UserError(f"policy recorded: {path}: give a .npz or a .parquet file")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"policy recorded: {path}: {error.strerror}; give a file") from error


def kept_tokens(path: Path, head: KvHeadTrace) -> Tensor:
    """Return what a recording keeps of one KV head: (q_heads, steps, tokens) bool.

    Raises:
        UserError: it does not hold this layer, or another shape, or a token that a step cannot see.
    """
    read = _from_parquet if path.suffix == ".parquet" else _from_npz
    kept = torch.from_numpy(read(path, head)).to(head.key.device)
    wrong = (kept & ~seen_mask(head, slice(0, head.steps))).nonzero()
    if len(wrong):
        q_head, step, at = wrong[0].tolist()
        raise UserError(
            f"{_where(path, head)}, query head {head.kv_head * head.q_heads + q_head}, step "
            f"{step}: keeps token {at}, which that step does not see; record what it can see"
        )
    return kept


def groups_of(path: Path, head: KvHeadTrace) -> Groups | None:
    """Return the groups of one KV head's prompt, None where none were recorded.

    Raises:
        UserError: another shape, or groups that no layout can store.
    """
    given = _array(path, f"group_layer_{head.layer}")
    if given is None:
        return None
    label = _row(path, head, given, "group", head.tokens)
    place = np.flatnonzero(label >= 0)
    if len(place) == 0:
        return None
    start, stop = int(place[0]), int(place[-1]) + 1
    if stop - start != len(place) or stop > head.prompt_tokens:
        raise UserError(
            f"{_where(path, head)}: tokens with a group must be prompt tokens that follow each "
            f"other, and these are {len(place)} of {start} to {stop - 1}; give -1 to no other"
        )
    whole = torch.full((head.tokens,), -1, dtype=torch.int64)
    rank = torch.zeros_like(whole)
    whole[start:stop] = torch.from_numpy(np.unique(label[start:stop], return_inverse=True)[1])
    rank[start:stop] = ranks(whole[None, start:stop])[0]
    segment = [torch.tensor([number]) for number in (start, stop, -1)]
    return Groups(segment[0], segment[1], segment[2], whole, rank)


def overhead_of(path: Path, head: KvHeadTrace) -> Overhead:
    """Return the recorded work of one KV head; what was not recorded is unknown."""
    found: dict[str, Tensor | None] = dict.fromkeys(FIELDS)
    for name in FIELDS:
        given = _array(path, f"{name}_layer_{head.layer}")
        if given is not None:
            row = _row(path, head, given, name, head.steps)
            if (row < 0).any():
                raise UserError(f"{_where(path, head)}: {name} is negative; give counts")
            found[name] = torch.from_numpy(row).to(head.key.device)
    return Overhead(**found)


def _where(path: Path, head: KvHeadTrace) -> str:
    return f"policy recorded: {path}: layer {head.layer}, KV head {head.kv_head}"


def _from_npz(path: Path, head: KvHeadTrace) -> np.ndarray:
    packed = _array(path, f"selected_layer_{head.layer}")
    if packed is None:
        raise UserError(f"{_where(path, head)}: holds no selected_layer_{head.layer}; record it")
    wanted = (head.steps, -(-head.tokens // 8))
    last = (head.kv_head + 1) * head.q_heads
    if packed.ndim != 3 or packed.dtype != np.uint8 or packed.shape[1:] != wanted:
        raise UserError(
            f"{_where(path, head)}: {packed.dtype} of {packed.shape}, where this trace has "
            f"{head.steps} steps of {head.tokens:,} tokens, uint8 of (query heads, {wanted[0]}, "
            f"{wanted[1]}); record this trace"
        )
    if packed.shape[0] < last or packed.shape[0] % head.q_heads:
        raise UserError(
            f"{_where(path, head)}: {packed.shape[0]} query heads, where this trace has "
            f"{head.q_heads} for each KV head; record this trace"
        )
    bits = np.unpackbits(packed[last - head.q_heads : last], axis=-1)
    if bits[..., head.tokens :].any():
        raise UserError(f"{_where(path, head)}: keeps tokens beyond the trace's {head.tokens:,}")
    return bits[..., : head.tokens].astype(bool)


def _from_parquet(path: Path, head: KvHeadTrace) -> np.ndarray:
    first = head.kv_head * head.q_heads
    rows = _table(path).filter(
        pl.col("layer") == head.layer,
        pl.col("query_head").is_between(first, first + head.q_heads - 1),
    )
    count, wanted = rows.select("query_head", "step").n_unique(), head.q_heads * head.steps
    if (
        rows.height != wanted
        or count != wanted
        or not rows["step"].is_between(0, head.steps - 1).all()
    ):
        raise UserError(
            f"{_where(path, head)}: {rows.height} rows of {count} query heads and steps, where "
            f"this trace has {wanted}; give one row for each"
        )
    kept = np.zeros((head.q_heads, head.steps, head.tokens), bool)
    exploded = rows.explode("tokens").drop_nulls("tokens")
    token = exploded["tokens"].to_numpy()
    if len(token) and (token.min() < 0 or token.max() >= head.tokens):
        raise UserError(
            f"{_where(path, head)}: tokens {token.min()} to {token.max()}, where this trace has "
            f"{head.tokens:,}; record this trace"
        )
    kept[exploded["query_head"].to_numpy() - first, exploded["step"].to_numpy(), token] = True
    return kept


def _row(path: Path, head: KvHeadTrace, given: np.ndarray, name: str, columns: int) -> np.ndarray:
    """Return one KV head's row of an array (KV heads, columns) of whole numbers."""
    if (
        given.ndim != 2
        or given.shape[1] != columns
        or given.shape[0] <= head.kv_head
        or not np.issubdtype(given.dtype, np.integer)
    ):
        raise UserError(
            f"{_where(path, head)}: {name} is {given.dtype} of {given.shape}; give whole numbers "
            f"of (KV heads, {columns})"
        )
    row: np.ndarray = given[head.kv_head].astype(np.int64)
    return row


@lru_cache(maxsize=8)
def _array(path: Path, name: str) -> np.ndarray | None:
    """Return one array of an .npz file, None where it holds none of that name."""
    if path.suffix != ".npz":
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found: np.ndarray | None = file[name] if name in file.files else None
            return found
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        KeyError,
        NotImplementedError,
    ) as error:
        raise UserError(f"policy recorded: {path}: not an .npz file of arrays ({error})") from error


@lru_cache(maxsize=2)
def _table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
        whole = [pl.col(name).cast(pl.Int64) for name in ("layer", "query_head", "step")]
        return table.select(*whole, pl.col("tokens").cast(pl.List(pl.Int64)))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"policy recorded: {path}: {reason}; give the columns layer, query_head, step, tokens"
        ) from error
