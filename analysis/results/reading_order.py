"""The order in which a reader expects methods: dense, token by token, then the others."""

import polars as pl

POLICIES = (
    "dense",
    "topk",
    "sparq",
    "quest",
    "starc",
    "streaming_llm",
    "h2o",
    "snapkv",
    "clusterkv",
    "retroinfer",
    "pqcache",
    "magicpig",
)
"""Those that are here today; others follow them, by name."""


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by method as the reader expects: dense, token-wise, then the others."""
    places = {policy: place for place, policy in enumerate(POLICIES)}
    place = pl.col("policy").replace_strict(places, default=len(places), return_dtype=pl.Int32)
    return frame.sort(place, "policy", "layout", "method", maintain_order=True)
