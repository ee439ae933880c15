"""The task text: its splits share nothing, and every question can be answered from the text."""

import random
import re

import pytest

from tracegen.prompts import filler, tasks


def test_no_sentence_form_relation_or_question_frame_is_in_both_splits() -> None:
    for table in (tasks._FORMS, tasks._RELATIONS, tasks._ASK, tasks._CHAINS):
        assert not set(table["train"]) & set(table["heldout"])


def test_training_has_at_least_twenty_sentence_forms() -> None:
    assert len(tasks._FORMS["train"]) >= 20
    assert len(tasks._FORMS["heldout"]) >= 8


def test_no_invented_form_is_one_that_is_held_out() -> None:
    invented = {*tasks._LINKS, "the"}
    for statement, _, _ in tasks._FORMS["heldout"]:
        words = set(re.findall("[a-z]+", re.sub(r"{\w+}", "", statement).lower()))
        assert words - invented


def test_the_value_of_an_invented_form_lies_at_any_distance_from_its_key() -> None:
    rng = random.Random(0)
    distances = set()
    for _ in range(300):
        statement, _, lead = tasks._invented_form(rng)
        between = statement.split("{key}")[1].split("{value}")[0]
        assert lead.endswith("{key}" + between.rstrip())
        distances.add(len(between.split()))
    assert distances == set(range(1, 11))


def test_keys_of_the_two_splits_never_meet() -> None:
    rng = random.Random(0)
    keys = {split: {tasks.key(rng, split) for _ in range(3000)} for split in ("train", "heldout")}
    assert not keys["train"] & keys["heldout"]


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_question_names_its_key_and_every_statement_its_value(split: tasks.Split) -> None:
    for seed in range(200):
        for fact in tasks.facts(random.Random(seed), 8, split):
            assert fact.value in fact.statement
            assert fact.value not in fact.question
        keys = [fact.question for fact in tasks.facts(random.Random(seed), 8, split)]
        assert len(set(keys)) == 8


def test_a_chain_copies_one_number_from_variable_to_variable() -> None:
    statements, question, number = tasks.chain(random.Random(1), 2, "heldout")
    assert len(statements) == 3
    names = [re.search(r"\b[A-Z]{2,3}\b", text).group() for text in statements]
    assert names[0] in statements[1]
    assert names[1] in statements[2]
    assert names[2] in question
    assert number in statements[0]
    assert all(number not in later for later in statements[1:])
    assert number not in question


def test_filler_holds_no_digit_and_no_key() -> None:
    text = filler.sentences(random.Random(0), 20000)
    assert len(text) >= 20000
    assert not any(character.isdigit() for character in text)
    for adjective in tasks._ADJECTIVES:
        for noun in tasks._NOUNS:
            assert f"the {adjective} {noun}" not in text
