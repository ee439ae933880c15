"""RULER's kinds: what each asks for stands in its text, and the score is the share found."""

import random
from collections import Counter

import pytest
from transformers import PreTrainedTokenizerFast

from tracegen.base.errors import UserError
from tracegen.prompts import filler, ruler
from tracegen.prompts.prompt import build
from tracegen.reference_model.corpus import BOS, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    text = filler.sentences(random.Random(0), 30000) + "0123456789"
    return PreTrainedTokenizerFast(tokenizer_object=train_tokenizer([text], 400), bos_token=BOS)


def example(kind: str, size: int = 60) -> ruler.Example:
    return ruler.KINDS[kind](random.Random(4), size)


def test_they_are_rulers_eleven_generated_kinds() -> None:
    assert list(ruler.KINDS) == [
        *(f"niah_single_{n}" for n in (1, 2, 3)),
        *(f"niah_multikey_{n}" for n in (1, 2, 3)),
        "niah_multivalue",
        "niah_multiquery",
        "vt",
        "cwe",
        "fwe",
    ]


@pytest.mark.parametrize("kind", ruler.KINDS)
def test_a_prompt_fills_the_tokens_asked_for(tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    prompt = build(kind, tokenizer, 8000, seed=3)
    assert 7600 < len(prompt.token_ids) <= 8000
    assert prompt.token_ids[0] == tokenizer.bos_token_id
    assert prompt == build(kind, tokenizer, 8000, seed=3)
    assert prompt.text != build(kind, tokenizer, 8000, seed=4).text


@pytest.mark.parametrize("kind", ruler.KINDS)
def test_the_reply_is_what_the_text_holds_and_scores_in_full(kind: str) -> None:
    made = example(kind)
    assert all(answer in made.text for answer in made.answers)
    assert made.reply.startswith(" ")
    assert ruler.score(made.reply, made.answers) == 1
    assert not made.text.endswith(made.reply)
    places = [made.reply.index(answer) for answer in made.answers]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("kind", "answers", "facts"),
    [
        ("niah_single_1", 1, 1),
        ("niah_single_2", 1, 1),
        ("niah_multikey_1", 1, 4),
        ("niah_multikey_2", 1, 61),
        ("niah_multivalue", 4, 4),
        ("niah_multiquery", 4, 4),
    ],
)
def test_numbers_are_hidden_and_asked_for(kind: str, answers: int, facts: int) -> None:
    made = example(kind)
    assert made.text.count("One of the special magic numbers for") == facts
    assert len(made.answers) == answers
    assert all(len(one) == 7 and one.isdigit() for one in made.answers)
    for answer in made.answers:
        key = made.text.split(f" is: {answer}.")[0].rpartition(" for ")[2]
        assert key in made.text.rpartition("What ")[2], "the answer is that of a key asked for"


@pytest.mark.parametrize("kind", ["niah_single_3", "niah_multikey_3"])
def test_values_may_be_uuids(kind: str) -> None:
    assert all(len(one) == 36 and one.count("-") == 4 for one in example(kind).answers)


def test_a_variable_is_handed_on_four_times() -> None:
    made = example("vt")
    first, *others = made.answers
    assert len(others) == 4
    value = made.text.split(f"VAR {first} = ")[1].split("\n")[0]
    assert f"assigned the value {value} in the text" in made.text
    before = first
    for name in others:
        assert f"VAR {name} = VAR {before}" in made.text
        before = name


def test_common_words_come_thirty_times_and_others_three() -> None:
    made = example("cwe", 50)
    listed = made.text.rpartition("appear most often.\n")[2].split("\nQuestion")[0].split()
    counts = Counter(word for word in listed if not word.rstrip(".").isdigit())
    assert Counter(counts.values()) == {30: 10, 3: 50}
    assert {word for word, count in counts.items() if count == 30} == set(made.answers)


def test_frequent_words_follow_the_noise() -> None:
    made = example("fwe", 900)
    coded = made.text.split("coded words. ")[1].split("\nQuestion")[0].split()
    ranked = [word for word, _ in Counter(coded).most_common(4)]
    assert ranked == ["...", *made.answers]


def test_the_score_is_the_share_of_strings_found_whatever_their_case() -> None:
    assert ruler.score("it is KITE, then oar", ["kite", "oar", "owl", "fox"]) == 0.5


def test_too_few_tokens_are_refused_with_the_least_number(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(UserError, match=r"'niah_single_1' needs at least \d+ tokens and 20 are"):
        build("niah_single_1", tokenizer, 20)
