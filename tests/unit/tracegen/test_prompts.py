"""Prompts: exact lengths, the same for the same seed, the facts in the text."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tracegen.base.errors import UserError
from tracegen.prompts import filler
from tracegen.prompts import prompt as prompts
from tracegen.reference_model.corpus import BOS, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    import random

    text = filler.sentences(random.Random(0), 30000) + "0123456789"
    made = train_tokenizer([text], 400)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BOS)


@pytest.mark.parametrize("task", sorted(prompts.TASKS))
def test_a_prompt_has_exactly_the_tokens_asked_for(
    tokenizer: PreTrainedTokenizerFast, task: str
) -> None:
    prompt = prompts.build(task, tokenizer, 2500, seed=3)
    assert len(prompt.token_ids) == 2500
    assert prompt.token_ids[0] == tokenizer.bos_token_id
    assert prompt == prompts.build(task, tokenizer, 2500, seed=3)
    assert prompt != prompts.build(task, tokenizer, 2500, seed=4)


@pytest.mark.parametrize("task", ["needle", "multi_needle", "lookup", "variables"])
def test_the_answer_stands_in_the_text_and_not_at_its_end(
    tokenizer: PreTrainedTokenizerFast, task: str
) -> None:
    prompt = prompts.build(task, tokenizer, 2500, seed=5)
    assert prompt.answer.strip() in prompt.text
    assert not prompt.text.rstrip().endswith(prompt.answer.strip())


def test_every_digit_is_a_token_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("x 4711")["input_ids"])
    assert [piece for piece in pieces if piece.isdigit()] == ["4", "7", "1", "1"]


def test_an_unknown_task_is_refused_with_the_nearest_name(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(UserError, match=r"'needles' is unknown; known: .*did you mean needle\?"):
        prompts.build("needles", tokenizer, 500)


def test_too_few_tokens_are_refused_with_the_least_number(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(UserError, match=r"needs at least \d+ tokens and 20 are asked for"):
        prompts.build("multi_needle", tokenizer, 20)


def test_a_haystack_that_is_too_short_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="the haystack has"):
        prompts.build("needle", tokenizer, 500, haystack="Too short.")


def test_a_given_haystack_surrounds_the_facts(tokenizer: PreTrainedTokenizerFast) -> None:
    hay = Path(__file__).read_text(encoding="utf-8")
    prompt = prompts.build("needle", tokenizer, 300, haystack=hay)
    assert "Prompts: exact lengths" in prompt.text
