"""Rows of a result table as they come, and the columns that many of them make together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


class Rows:
    """Rows on their way to a table: columns, scalars that fill one, None for unknown ones."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns
        lists = [values for values in columns.values() if _is_column(values)]
        self.count = len(lists[0])
        self.size_bytes = sum(
            getattr(values, "nbytes", 0) or sum(map(_cell_bytes, values)) for values in lists
        )


def joined(field: pa.Field, batches: Sequence[Rows]) -> pa.Array:
    """Return one column of all batches: at once where they are arrays of one kind."""
    values = [batch.columns.get(field.name) for batch in batches]
    arrays = [one for one in values if isinstance(one, np.ndarray)]
    if len(arrays) == len(values) and len({(one.dtype, one.shape[1:]) for one in arrays}) == 1:
        return _column(field, np.concatenate(arrays), sum(batch.count for batch in batches))
    pieces = [_column(field, one, batch.count) for one, batch in zip(values, batches, strict=True)]
    return pa.concat_arrays(pieces)


def _column(field: pa.Field, values: Any, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, field.type)
    if _is_column(values):
        if pa.types.is_list(field.type) and getattr(values, "ndim", 1) == 2:
            flat = pa.array(values.reshape(-1), field.type.value_type)
            offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
            return pa.ListArray.from_arrays(pa.array(offsets), flat)
        return pa.array(values, field.type)
    return pa.repeat(pa.scalar(values, field.type), rows)


def _is_column(values: object) -> bool:
    return hasattr(values, "__len__") and not isinstance(values, str | bytes)


def _cell_bytes(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 8
