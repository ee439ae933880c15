"""Prompts from files: texts with a question, rows of JSONL files, chat templates."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracegen.conftest import byte_tokenizer
from tests.unit.tracegen.gguf_files import CHAT
from tracegen.base.errors import UserError
from tracegen.prompts import frame
from tracegen.prompts.files import TextPrompt, read


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_without_its_byte_order_mark_is_the_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffOnce upon a time")
    assert read(path) == TextPrompt("Once upon a time", {"file": "a.txt"})


def test_a_question_follows_its_context(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "{question} is not filled here.")
    found = read(path, question="Why?")
    assert found.text == "{question} is not filled here.\n\nWhy?"
    assert found.description == {"file": "a.txt", "question": "Why?"}


def test_a_template_says_where_context_and_question_go(tmp_path: Path) -> None:
    template = write(tmp_path / "t.txt", "Q: {question}\nText: {context}\n{other}")
    path = write(tmp_path / "a.txt", "The sky is blue.")
    found = read(path, question="Which colour?", template=template)
    assert found.text == "Q: Which colour?\nText: The sky is blue.\n{other}"


ROWS: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    # as LongBench has them
    ({"context": "C", "input": "Q?", "answers": ["A", "B"], "length": 3}, "C\n\nQ?", ("A", "B")),
    # as RULER has them
    (
        {"index": 0, "input": "all of it", "outputs": ["7"], "answer_prefix": " is"},
        "all of it is",
        ("7",),
    ),
    ({"context": "C", "question": "Q?", "answer": 7}, "C\n\nQ?", ("7",)),
    ({"input": "line\u2028separator"}, "line\u2028separator", ()),
]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_row_is_read_with_its_answers(tmp_path: Path, number: int) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row, _, _ in ROWS]
    path = write(tmp_path / "x.jsonl", "\n".join(lines) + "\n")
    _, text, answers = ROWS[number]
    assert read(path, row=number) == TextPrompt(text, {"file": "x.jsonl", "row": number}, answers)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("x.jsonl", '{"input": "a"}\n', {}, "rows of prompts; give --row"),
        ("x.jsonl", '{"input": "a"}\n', {"row": 1}, r"--row 1: .* has rows 0 to 0"),
        ("x.jsonl", '{"input": "a"}\n', {"row": -1}, r"--row -1: .* has rows 0 to 0"),
        (
            "x.jsonl",
            '{"output": "a"}\n',
            {"row": 0},
            r"no text in the field question or input; fields: output",
        ),
        ("x.jsonl", '{"input": 5}\n', {"row": 0}, "no text in the field question or input"),
        ("x.jsonl", "{\n", {"row": 0}, "row 0: not JSON"),
        ("x.jsonl", "[" * 100_000 + "\n", {"row": 0}, "row 0: not JSON"),
        ("x.jsonl", "[1]\n", {"row": 0}, "row 0: not a JSON object"),
        ("x.jsonl", '{"input": "a"}\n', {"row": 0, "question": "Q"}, "hold their own questions"),
        ("x.txt", "a", {"row": 0}, "is not a .jsonl file"),
        ("x.txt", " \n", {}, "the text is empty"),
        ("x.txt", "a", {"template": Path("t.txt")}, "give --question"),
        ("x.txt", "a", {"question": "Q", "template": Path("none.txt")}, "No such file"),
    ],
)
def test_what_cannot_be_a_prompt_is_refused(
    tmp_path: Path, name: str, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / name, text), **options)


def test_a_template_without_a_place_for_the_question_is_refused(tmp_path: Path) -> None:
    template = write(tmp_path / "t.txt", "{context}")
    with pytest.raises(UserError, match=r"holds no {question}"):
        read(write(tmp_path / "a.txt", "text"), question="Q", template=template)


def test_a_chat_frame_is_the_template_around_one_message() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT
    around = frame.chat(tokenizer, "tiny")
    ids = around.around(frame.text_ids(tokenizer, "Hello"))
    assert tokenizer.decode(ids) == "<user>Hello<assistant>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the tokenizer of tiny has no chat template; give an instruct model"),
        ("nothing", "leaves out the user's message"),
        ("{{ raise_exception('no user here') }}", r"fails \(no user here\)"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused(template: str | None, message: str) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=message):
        frame.chat(tokenizer, "tiny")


TALK = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Two and two?"},
]


def test_an_assistants_last_message_is_the_answer_to_the_others(tmp_path: Path) -> None:
    answered = [*TALK, {"role": "assistant", "content": "4", "weight": 1}]
    rows = "\n".join(json.dumps({"messages": one}) for one in (answered, TALK))
    path = write(tmp_path / "x.jsonl", rows)
    found = [read(path, row=row) for row in (0, 1)]
    assert [one.messages for one in found] == [tuple(TALK)] * 2
    assert [one.answers for one in found] == [("4",), ()]


def test_messages_fill_the_models_own_template() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT
    ids = frame.conversation(tokenizer, "tiny", TALK[:1])
    around = frame.chat(tokenizer, "tiny")
    assert ids == around.around(frame.text_ids(tokenizer, "Hello"))
    longer = tokenizer.decode(frame.conversation(tokenizer, "tiny", TALK))
    assert longer.index("Hello") < longer.index("Hi") < longer.index("Two and two?")
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="has no chat template; give an instruct model, or a"):
        frame.conversation(tokenizer, "tiny", TALK)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("Hello", "row 0: messages is not a list of objects with a text role and content"),
        ([], "messages is not a list of objects"),
        ([{"role": "user"}], "messages is not a list of objects"),
        ([{"role": "user", "content": 7}], "messages is not a list of objects"),
        ([*TALK, "more"], "messages is not a list of objects"),
        ([{"role": "assistant", "content": "4"}], "an answer and nothing that asks for it"),
    ],
)
def test_messages_that_are_none_are_refused(tmp_path: Path, messages: Any, said: str) -> None:
    path = write(tmp_path / "x.jsonl", json.dumps({"messages": messages}))
    with pytest.raises(UserError, match=said):
        read(path, row=0)


class Starting:
    """A tokenizer that puts its start token, 1, before a text; `<s>` in a text is that token."""

    bos_token_id = 1

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        ids = [1] if text.startswith("<s>") else []
        ids += [ord(one) for one in text.removeprefix("<s>")]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}


@pytest.mark.parametrize("text", ["ab", "<s>ab"])
def test_a_start_token_in_the_text_is_not_repeated(text: str) -> None:
    tokenizer: Any = Starting()
    around = frame.plain(tokenizer)
    assert around.around(frame.text_ids(tokenizer, text)) == [1, ord("a"), ord("b")]
