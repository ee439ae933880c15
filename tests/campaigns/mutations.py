"""Ways to damage a file: its bytes, the values of its documents, the rows of its tables."""

import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMPOSSIBLE = (None, True, "x", "", "-3", [], {}, -1, -0.5, math.nan, math.inf, -math.inf)
"""What no number of ours may be; where one is replaced by it, a result would be wrong."""
EXTREME = (0, 1, 2.5, 1e-300, 1e308, 10**9, 2**31, 2**63, 10**30, "\x1b[2J", "\ud800", "²", "4-3")
"""What some field may hold, and most may not."""


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes: bits flipped, parts cut, repeated, blanked, moved or made up."""
    if not data:
        return b"\0"
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 8, 64, 1000))
    part = data[at : at + size]
    how = rng.randrange(8)
    if how == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if how == 1:
        return data[:at]
    if how == 2:
        return data[:at] + data[at + size :]
    if how == 3:
        return data[: at + size] + part + data[at + size :]
    if how == 4:
        return data[:at] + bytes(len(part)) + data[at + size :]
    if how == 5:
        return data[:at] + rng.randbytes(size) + data[at:]
    if how == 6:
        return data[:at] + rng.randbytes(len(part)) + data[at + size :]
    return rng.choice((b"", b"\xef\xbb\xbf" + data, data * 2, data[::-1], b"[" * 100_000))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from places(one, (*path, key))


def damaged_document(document: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], bool]:
    """Return a document with one value changed, and whether no right result can come of it."""
    changed = json.loads(json.dumps(document))
    path = rng.choice(list(places(changed)))
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    before = holder[path[-1]]
    how = rng.randrange(8)
    if how == 0:
        del holder[path[-1]]
        return changed, False
    if how == 1:
        if isinstance(holder, dict):
            holder[rng.choice(("", "x", "\x07", "k" * 10_000))] = before
        else:
            holder.append(before)
        return changed, False
    if how == 2:
        deep: Any = before
        for _ in range(200):
            deep = [deep]
        holder[path[-1]] = deep
        return changed, False
    wrong = how < 6
    holder[path[-1]] = rng.choice(IMPOSSIBLE if wrong else EXTREME)
    is_number = isinstance(before, int | float) and not isinstance(before, bool)
    return changed, wrong and is_number


def toml_text(document: dict[str, Any]) -> str:
    """Write a document as TOML, the values that it has no words for in JSON's."""

    def value(one: Any) -> str:
        if isinstance(one, float) and not math.isfinite(one):
            return str(one)
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {value(v)}" for k, v in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return json.dumps(one)

    return "".join(f"{json.dumps(key)} = {value(one)}\n" for key, one in document.items())


def damaged_words(words: list[str], rng: random.Random) -> list[str]:
    """Return a command line with a word changed, dropped, repeated or added."""
    at = rng.randrange(1, len(words))
    odd = (
        *("", "-1", "0", "1e999", "nan", "9" * 5000, "²", "0-99999999999", "4-3", "1,2,,3"),
        *("\x1b[2J", "a\x1bb", "é" * 300, "../..", ".", "/dev/null", "/", "x/y/z", "--", "-"),
        *("nowhere://x", "[/bold]", "dense", "topk:x=1", "topk:", "starc@", "@", ":", "2.5", "1%"),
        *("--help", "--budget", "None", "true", "{}", "10000000000000000000000", "-0", "+4"),
    )
    how = rng.randrange(5)
    if how == 0:
        return words[:at] + words[at + 1 :]
    if how == 1:
        return words[: at + 1] + words[at:]
    if how == 2:
        return [*words[:at], rng.choice(odd), *words[at:]]
    if how == 3 and re.search(r"\d", words[at]):
        number = rng.choice(("-1", "0", "99999999999999999999", "1.5", "1e9", "x", "٣"))
        return [*words[:at], re.sub(r"\d+", number, words[at], count=1), *words[at + 1 :]]
    return [*words[:at], rng.choice(odd), *words[at + 1 :]]


def reordered_table(path: Path, rng: random.Random) -> None:
    """Write a Parquet file again with its rows in another order or number."""
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(one) for one in range(file.num_row_groups)]
    at = rng.randrange(len(groups))
    table = groups[at]
    rows = list(range(table.num_rows))
    other = list(rows)
    rng.shuffle(other)
    choices = [
        table.take(rows[::-1]),
        table.take(other),
        table.slice(0, len(rows) // 2),
        table.slice(0, 0),
        pa.concat_tables([table, table]).combine_chunks(),
    ]
    groups[at] = rng.choice(choices)
    if rng.random() < 0.3:
        groups = rng.choice([groups[::-1], groups[:-1], groups + groups[:1]])
    with pq.ParquetWriter(path, table.schema, store_schema=False) as file:
        for one in groups:
            file.write_table(one, row_group_size=max(1, one.num_rows))
