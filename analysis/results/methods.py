"""Which methods there are: a short label for each, a place in order, and a look of its own.

A method is a policy with its parameters on a layout. Its label holds only what tells it from the
other methods of the results; everything is told where there is room.
"""

import re
from collections.abc import Sequence
from itertools import combinations, count

import polars as pl

METHOD = ("policy", "policy_parameters", "layout")
"""Columns that name a method."""

ORDER = (
    "dense",
    "topk",
    "sparq",
    "quest",
    "starc",
    "clusterkv",
    "retroinfer",
    "pqcache",
    "magicpig",
    "block_tree",
    "snapkv",
    "h2o",
    "streaming_llm",
)
"""Policies as a reader expects them: dense, token by token, by pages, by clusters, by eviction.

Each keeps its look in every report; the first method of another policy takes the next free one.
"""

_UNIT = re.compile(r"_(tokens|ratio|bytes|steps)$")


def described(methods: pl.DataFrame) -> pl.DataFrame:
    """Return each method once with its `method` (label), `full` name, `rank` (in order) and `look`.

    Args:
        methods: One or more rows with the columns `METHOD`.
    """
    rows = methods.select(METHOD).unique().rows()
    labels = dict(zip(rows, _labels(rows), strict=True))
    ranked = sorted(rows, key=lambda row: (_place(row[0]), row[0], labels[row]))
    looks = _looks([row[0] for row in ranked])
    return pl.DataFrame(
        {
            **{name: [row[place] for row in ranked] for place, name in enumerate(METHOD)},
            "method": [labels[row] for row in ranked],
            "full": [_full(*row) for row in ranked],
            "rank": range(len(ranked)),
            "look": looks,
        },
        schema={
            **dict.fromkeys((*METHOD, "method", "full"), pl.String),
            "rank": pl.Int32,
            "look": pl.Int32,
        },
    )


def _full(policy: str, parameters: str, layout: str) -> str:
    given = f" with {parameters.replace(',', ', ')}" if parameters else ""
    return f"{policy}{given}, on {layout}"


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by method as the reader expects: dense, token-wise, then the others."""
    return frame.sort("rank", maintain_order=True)


def look_of(policy: str) -> int:
    """Return the look of the first method of a policy of `ORDER`."""
    return ORDER.index(policy)


def _place(policy: str) -> int:
    return ORDER.index(policy) if policy in ORDER else len(ORDER)


def _looks(policies: Sequence[str]) -> list[int]:
    """Give each method a number of its own: a known policy's first method its policy's place."""
    first = {policy: look_of(policy) for policy in policies if policy in ORDER}
    taken = {look_of("dense"), *first.values()}
    free = (look for look in count() if look not in taken)
    return [first.pop(policy) if policy in first else next(free) for policy in policies]


def _labels(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    found = []
    for policy, parameters, layout in rows:
        others = [row for row in rows if row[0] == policy]
        own = _parsed(parameters)
        parts = [policy]
        parts += [_told(name, own[name]) for name in _telling(others) if name in own]
        if len({row[2] for row in others}) > 1:
            parts.append(layout)
        found.append(" ".join(parts))
    return found


def _parsed(parameters: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in parameters.split(",") if one)
    return {name: value for name, _, value in pairs}


def _telling(rows: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Return the fewest parameters, the first of them, that tell a policy's variants apart."""
    variants = [_parsed(text) for text in dict.fromkeys(row[1] for row in rows)]
    names = [
        name
        for name in dict.fromkeys(name for one in variants for name in one)
        if len({one.get(name) for one in variants}) > 1
    ]
    for size in range(len(names)):
        for chosen in combinations(names, size):
            if len({tuple(one.get(name) for name in chosen) for one in variants}) == len(variants):
                return chosen
    return tuple(names)


def _told(name: str, value: str) -> str:
    """Return `page 8`, or `v1` where the value is a word."""
    return value if _is_word(value) else f"{_UNIT.sub('', name)} {value}".strip()


def _is_word(value: str) -> bool:
    return value[:1].isalpha() and value not in ("True", "False", "None", "true", "false", "none")
