"""The measures of a table of steps, each with a bootstrap interval over its examples.

Examples are drawn anew with replacement, the same draw for every policy and budget: differences
from dense are paired, prompt by prompt. Intervals are the middle 95% of the resamples.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)

Sums = dict[str, np.ndarray]
"""Sums over the steps of each example, (examples,) or of resamples, (resamples,)."""

MEASURES: dict[str, Callable[[Sums], np.ndarray]] = {
    "perplexity": lambda s: np.exp(s["nats"] / s["steps"]),
    "bits_per_byte": lambda s: s["nats"] / s["bytes"] / np.log(2),
    "answer_log_likelihood_nats": lambda s: -s["nats"] / s["examples"],
    "ruler_score_ratio": lambda s: s["found"] / s["examples"],
    "exact_match_ratio": lambda s: s["exact"] / s["examples"],
    "dense_agreement_ratio": lambda s: s["agreed"] / s["steps"],
    "dense_divergence_nats": lambda s: s["divergence"] / s["steps"],
}
_OF_TEXT = ("perplexity", "bits_per_byte", "dense_agreement_ratio", "dense_divergence_nats")
_OF_ANSWERS = (
    "ruler_score_ratio",
    "exact_match_ratio",
    "answer_log_likelihood_nats",
    "dense_agreement_ratio",
    "dense_divergence_nats",
)


def measure(steps: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return one row for each task, policy, budget and measure.

    `value` and its `low` and `high`; `difference` from dense on the same examples with
    `difference_low` and `difference_high`.

    Args:
        steps: The table of steps of an accuracy folder; dense is there for every example.
        seed: Seed of the resamples.
    """
    rows = []
    for (task,), of_task in steps.group_by(["task"], maintain_order=True):
        sums = _sums(of_task)
        dense = sums.filter(pl.col("policy") == "dense")
        names = _OF_ANSWERS if of_task["answer"].is_not_null().any() else _OF_TEXT
        for (policy, budget), cell in sums.group_by(["policy", "budget"], maintain_order=True):
            own = cell.sort("example")
            paired = dense.filter(pl.col("example").is_in(own["example"].implode())).sort("example")
            draws = np.random.default_rng(seed).integers(len(own), size=(RESAMPLES, len(own)))
            for name in names:
                rows.append(
                    {"task": task, "policy": policy, "budget": budget, "measure": name}
                    | {"examples": len(own)}
                    | _interval(MEASURES[name], _arrays(own), _arrays(paired), draws)
                )
    return pl.DataFrame(rows)


def by_position(steps: pl.DataFrame, bins: int = 8) -> pl.DataFrame:
    """Return the perplexity of equal runs of steps, so that the cost of long context shows."""
    last = pl.col("step").max().over("task") + 1
    return (
        steps.filter(pl.col("answer").is_null().all().over("task"))
        .with_columns(bin=pl.col("step") * bins // last)
        .group_by(["task", "policy", "budget", "bin"], maintain_order=True)
        .agg(
            first_step=pl.col("step").min(),
            last_step=pl.col("step").max(),
            perplexity=pl.col("nats").mean().exp(),
        )
    )


def _sums(steps: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of each example under each policy and budget."""
    keys = ["policy", "budget", "example"]
    of_string = (
        steps.filter(pl.col("answer").is_not_null())
        .group_by([*keys, "answer"])
        .agg(found=pl.col("is_target").all())
        .group_by(keys)
        .agg(found=pl.col("found").mean(), exact=pl.col("found").all().cast(pl.Float64))
    )
    return (
        steps.group_by(keys, maintain_order=True)
        .agg(
            nats=pl.col("nats").sum(),
            steps=pl.len().cast(pl.Float64),
            bytes=pl.col("target_bytes").sum().cast(pl.Float64),
            agreed=pl.col("is_dense_choice").sum().cast(pl.Float64),
            divergence=pl.col("dense_divergence_nats").sum(),
            examples=pl.lit(1.0),
        )
        .join(of_string, on=keys, how="left")
    )


def _arrays(sums: pl.DataFrame) -> Sums:
    return {
        name: sums[name].to_numpy()
        for name in sums.columns
        if name not in ("policy", "budget", "example")
    }


def _interval(
    compute: Callable[[Sums], np.ndarray], own: Sums, dense: Sums, draws: np.ndarray
) -> dict[str, Any]:
    def total(sums: Sums, index: np.ndarray) -> np.ndarray:
        return compute({name: one[index].sum(-1) for name, one in sums.items()})

    everything = np.arange(draws.shape[1])[None]
    value, base = total(own, everything)[0], total(dense, everything)[0]
    drawn, drawn_base = total(own, draws), total(dense, draws)
    low, high = np.percentile(drawn, INTERVAL)
    less, more = np.percentile(drawn - drawn_base, INTERVAL)
    return {
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "difference": float(value - base),
        "difference_low": float(less),
        "difference_high": float(more),
    }
