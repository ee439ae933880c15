"""What the rows of a trace's files must be: numbered in order, and holding finite values."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracegen.trace.schema import ITEM_BYTES, NUMPY_DTYPE, Manifest

# The exponent bits of each type as stored: all set in infinities and in what is not a number.
_EXPONENT = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F80_0000}
_BITS = {2: np.uint16, 4: np.uint32}
SUMS = ("attention_sum", "attention_sum_decayed")


def first_not_finite(vectors: npt.NDArray[Any], dtype: str) -> tuple[int, ...] | None:
    """Return the index of the first value that is not finite; None: all are.

    Args:
        vectors: stored values of any shape, uint16 for bfloat16.
        dtype: the trace's type of them.
    """
    exponent = _EXPONENT[dtype]
    flags = (vectors.view(_BITS[vectors.itemsize]) & exponent) == exponent
    if not flags.any():
        return None
    return tuple(int(one) for one in np.unravel_index(int(flags.argmax()), flags.shape))


def row_numbers(
    kind: str, manifest: Manifest, kv_head: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the two number columns that the row group of a KV head has in a file of `kind`."""
    prompt = np.arange(manifest.prompt_tokens, dtype=np.int32)
    numbers = {
        "kv": np.arange(manifest.tokens, dtype=np.int32),
        "queries": np.arange(manifest.decode_steps, dtype=np.int32),
        "prompt_queries": prompt[max(0, len(prompt) - manifest.prompt_queries) :],
        "prompt_attention": prompt,
    }[kind]
    heads = 1 if kind == "kv" else manifest.group
    head = np.arange(kv_head * heads, (kv_head + 1) * heads, dtype=np.int32)
    return head.repeat(len(numbers)), np.tile(numbers, heads)


def group_problem(kind: str, manifest: Manifest, kv_head: int, table: pa.Table) -> str | None:
    """Return what is wrong with the row group of a KV head, in words; None: nothing is.

    Args:
        kind: kv, queries, prompt_queries or prompt_attention.
        manifest: the trace's.
        kv_head: the KV head whose row group it is.
        table: all columns of the row group.
    """
    expected = row_numbers(kind, manifest, kv_head)
    first, second = table.column_names[:2]
    for column, numbers in zip(table.columns, expected, strict=False):
        if not np.array_equal(column.to_numpy(), numbers):
            return (
                f"rows of KV head {kv_head} are missing, repeated or out of order "
                f"({len(numbers):,} rows expected, by {first} and {second})"
            )
    for name in table.column_names[2:]:
        array = table.column(name)
        values = array.to_numpy() if name in SUMS else vectors_of(array, manifest.dtype)
        place = first_not_finite(values, "float32" if name in SUMS else manifest.dtype)
        if place is not None:
            head, number = (int(one[place[0]]) for one in expected)
            return f"{first} {head}, {second} {number}: {name} holds a value that is not finite"
        if name in SUMS and values.min() < 0:
            row = int(values.argmin())
            return f"{first} {expected[0][row]}, {second} {expected[1][row]}: {name} is negative"
    return None


def tokens_problem(manifest: Manifest, table: pa.Table) -> str | None:
    """Return what is wrong with the table of tokens, in words; None: nothing is."""
    phase = ["prompt"] * manifest.prompt_tokens + ["decode"] * manifest.decode_steps
    if (
        table.num_rows != manifest.tokens
        or not np.array_equal(table["token"].to_numpy(), np.arange(manifest.tokens))
        or table["phase"].to_pylist() != phase
    ):
        return (
            f"not {manifest.prompt_tokens:,} prompt and {manifest.decode_steps:,} decoded tokens "
            "in order"
        )
    log_prob = table["log_prob"].drop_null().to_numpy()
    if np.isnan(log_prob).any() or (log_prob > 0).any():
        return "log_prob holds something other than logarithms of probabilities"
    return None


def vectors_of(column: pa.ChunkedArray, dtype: str) -> npt.NDArray[Any]:
    """Return a column of vectors as (rows, head_dim), without a copy; bfloat16 as uint16."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], dtype=NUMPY_DTYPE[dtype])
    head_dim = array.type.byte_width // ITEM_BYTES[dtype]
    start = array.offset * head_dim
    return flat[start : start + len(array) * head_dim].reshape(-1, head_dim)
