"""Measuring a model: the interval, what counts as right, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tracegen.base.errors import UserError
from tracegen.capture.model import load
from tracegen.cli import app
from tracegen.reference_model import evaluation


class Oracle:
    """A model that continues every prompt with what stands after its last token."""

    device = torch.device("cpu")

    def __init__(self, spoilt: int | None = None) -> None:
        self.spoilt = spoilt

    def __call__(self, input_ids: torch.Tensor, logits_to_keep: int, **_: Any) -> SimpleNamespace:
        following = torch.cat([input_ids[0, 1:], torch.tensor([1])])[-logits_to_keep:]
        if self.spoilt is not None:
            following[self.spoilt] = 1
        return SimpleNamespace(logits=torch.nn.functional.one_hot(following, 8192)[None].float())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load("reference").tokenizer


def test_the_wilson_interval_of_a_known_case() -> None:
    low, high = evaluation.wilson(45, 50)
    assert (round(low, 4), round(high, 4)) == (0.7864, 0.9565)  # R: prop.test(45, 50, correct=F)
    assert evaluation.wilson(50, 50)[1] == pytest.approx(1.0)


@pytest.mark.parametrize("task", evaluation.RETRIEVAL_TASKS)
def test_a_model_that_gives_every_answer_is_always_right(tokenizer: Any, task: str) -> None:
    found = evaluation.accuracy(Oracle(), tokenizer, task, 1024, 3, None)
    assert (found.correct, found.accuracy_ratio) == (3, 1.0)
    assert found.correct_with_space == 3


def test_one_wrong_digit_makes_an_answer_wrong(tokenizer: Any) -> None:
    found = evaluation.accuracy(Oracle(spoilt=2), tokenizer, "needle", 1024, 3, None)
    assert found.correct == 0


def test_the_space_before_a_value_is_counted_apart(tokenizer: Any) -> None:
    found = evaluation.accuracy(Oracle(spoilt=0), tokenizer, "needle", 1024, 3, None)
    assert (found.correct, found.correct_with_space) == (3, 0)


def test_the_command_prints_one_json_object_and_null_where_no_text_was_given() -> None:
    options = ["--samples", "1", "--max-tokens", "1024", "--json"]
    done = CliRunner().invoke(app, ["evaluate-reference", *options], catch_exceptions=False)
    figures = json.loads(done.stdout)
    assert figures["perplexity"] is None
    assert [one["task"] for one in figures["accuracy"]] == list(evaluation.RETRIEVAL_TASKS)
    assert figures["accuracy"][0]["context_tokens"] == 1024


def test_texts_too_short_for_a_perplexity_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Too short. " * 50, encoding="utf-8")
    with pytest.raises(UserError, match=r"no text of at least 1024 tokens"):
        evaluation.perplexity(Oracle(), tokenizer, tmp_path, (1024,), 1)


def test_the_reference_model_finds_most_needles() -> None:
    loaded = load("reference", dtype="float32")
    found = evaluation.accuracy(loaded.model, loaded.tokenizer, "needle", 1024, 8, None)
    assert found.correct >= 6
