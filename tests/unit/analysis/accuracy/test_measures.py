"""Measures of hand-sized tables."""

import math
from typing import Any

import polars as pl
import pytest

from analysis.accuracy.measures import by_position, measure


def rows(policy: str, example: int, nats: list[float], **more: list[Any]) -> pl.DataFrame:
    n = len(nats)
    columns: dict[str, Any] = {
        "task": ["t"] * n,
        "example": [example] * n,
        "policy": [policy] * n,
        "budget": ["all" if policy == "dense" else "8"] * n,
        "step": list(range(n)),
        "target_bytes": [2] * n,
        "answer": [None] * n,
        "nats": nats,
        "dense_divergence_nats": [0.0 if policy == "dense" else 0.5] * n,
        "is_target": [True] * n,
        "is_dense_choice": [policy == "dense" or step > 0 for step in range(n)],
    }
    return pl.DataFrame(columns | more, schema_overrides={"answer": pl.Int32, "example": pl.Int32})


def value(found: pl.DataFrame, policy: str, name: str) -> dict[str, Any]:
    row = found.filter((pl.col("policy") == policy) & (pl.col("measure") == name))
    assert len(row) == 1
    return row.row(0, named=True)


def test_perplexity_is_that_of_all_targets_and_its_difference_is_paired() -> None:
    steps = pl.concat(
        [
            rows("dense", 0, [1.0, 3.0]),
            rows("dense", 1, [2.0, 2.0]),
            rows("topk", 0, [2.0, 4.0]),
            rows("topk", 1, [3.0, 3.0]),
        ]
    )
    found = measure(steps)
    dense, topk = (value(found, one, "perplexity") for one in ("dense", "topk"))
    assert dense["value"] == pytest.approx(math.exp(2))
    assert topk["value"] == pytest.approx(math.exp(3))
    # both examples have one mean, so no resample moves it
    assert topk["low"] == topk["high"] == topk["value"]
    assert topk["difference_low"] == pytest.approx(math.exp(3) - math.exp(2))
    assert value(found, "topk", "bits_per_byte")["value"] == pytest.approx(12 / 8 / math.log(2))
    assert value(found, "topk", "dense_agreement_ratio")["value"] == 0.5
    assert value(found, "dense", "dense_agreement_ratio")["value"] == 1
    assert value(found, "topk", "dense_divergence_nats")["value"] == 0.5
    assert "ruler_score_ratio" not in found["measure"]


def test_an_interval_holds_what_examples_differ_by() -> None:
    steps = pl.concat(
        [rows("dense", n, [2.0]) for n in range(20)]
        + [rows("topk", n, [2.0 + n / 10]) for n in range(20)]
    )
    found = value(measure(steps), "topk", "perplexity")
    assert found["low"] < found["value"] < found["high"]
    assert found["difference_low"] > 0
    assert found["examples"] == 20


def test_a_string_is_found_if_every_token_of_it_is_first_choice() -> None:
    steps = pl.concat(
        [
            rows("dense", 0, [0.0] * 5, answer=[None, 0, 0, 1, 1]),
            rows(
                "topk",
                0,
                [1.0] * 5,
                answer=[None, 0, 0, 1, 1],
                is_target=[False, True, True, True, False],
            ),
        ]
    )
    found = measure(steps)
    assert value(found, "dense", "ruler_score_ratio")["value"] == 1
    assert value(found, "dense", "exact_match_ratio")["value"] == 1
    assert value(found, "topk", "ruler_score_ratio")["value"] == 0.5
    assert value(found, "topk", "ruler_score_ratio")["difference"] == -0.5
    assert value(found, "topk", "exact_match_ratio")["value"] == 0
    assert value(found, "topk", "answer_log_likelihood_nats")["value"] == -5


def test_perplexity_by_position_is_that_of_equal_runs_of_steps() -> None:
    found = by_position(rows("dense", 0, [1.0, 1.0, 2.0, 2.0]), bins=2)
    assert found["first_step"].to_list() == [0, 2]
    assert found["last_step"].to_list() == [1, 3]
    assert found["perplexity"].to_list() == pytest.approx([math.e, math.e**2])
