"""Prompts from files: a text, or a row of a JSONL file as LongBench and RULER come.

Rows of LongBench hold `context`, `input` (the question) and `answers`
(https://github.com/THUDM/LongBench); rows of RULER hold the whole prompt as `input`, its start of
an answer as `answer_prefix`, and `outputs` (https://github.com/NVIDIA/RULER). Rows of
conversations hold `messages`, a list of `role` and `content`; an assistant's last is the answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError

TEMPLATE = "{context}\n\n{question}"
ROWS = ".jsonl"
"""How the name of a file of many prompts ends."""
_CONTEXT = ("context",)
_QUESTION = ("question", "input")
_ANSWERS = ("answers", "outputs", "answer")


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A prompt's text, where it came from, and the answers that are expected, perhaps none."""

    text: str
    description: Mapping[str, Any]
    answers: tuple[str, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    """A conversation for the model's chat template, which `text` holds as JSON; empty: a text."""


def read(
    path: Path, *, row: int | None = None, question: str | None = None, template: Path | None = None
) -> TextPrompt:
    """Read a prompt.

    Args:
        path: a text file, or a `.jsonl` file.
        row: of a `.jsonl` file: which row, from 0.
        question: asked about the text of a text file.
        template: file that says how both are put together, with {context} and {question}.

    Raises:
        UserError: a file cannot be read, or the row does not exist or lacks a field.
    """
    if path.suffix.lower() == ROWS:
        if row is None:
            raise UserError(f"--prompt-file {path}: rows of prompts; give --row, from 0")
        if question is not None:
            raise UserError("--question: the rows of a .jsonl file hold their own questions")
        return _of_row(path, row, template)
    if row is not None:
        raise UserError(f"--row: {path} is not a .jsonl file; leave --row out")
    text = _text("--prompt-file", path)
    if question is None:
        if template is not None:
            raise UserError("--template puts a context and a question together; give --question")
        return TextPrompt(text, {"file": path.name})
    filled = _fill(template, text, question)
    return TextPrompt(filled, {"file": path.name, "question": question})


def _of_row(path: Path, number: int, template: Path | None) -> TextPrompt:
    lines = [line for line in _text("--prompt-file", path).split("\n") if line.strip()]
    if not 0 <= number < len(lines):
        raise UserError(f"--row {number}: {path} has rows 0 to {len(lines) - 1}")
    where = f"{path}, row {number}"
    try:
        row = json.loads(lines[number])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); give rows of JSON objects") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object; give rows such as {{'input': ...}}")
    if "messages" in row:
        return _conversation(row["messages"], where, {"file": path.name, "row": number})
    question = _field(row, _QUESTION, where)
    context = _field(row, _CONTEXT, where) if "context" in row or template is not None else None
    text = question if context is None else _fill(template, context, question)
    found: Any = next((row[name] for name in _ANSWERS if name in row), [])
    answers = tuple(map(str, found if isinstance(found, list) else [found]))
    return TextPrompt(
        text + str(row.get("answer_prefix") or ""), {"file": path.name, "row": number}, answers
    )


def _conversation(given: Any, where: str, description: Mapping[str, Any]) -> TextPrompt:
    """Return the messages before an assistant's last one, which is the expected answer."""
    messages = given if isinstance(given, list) else []
    texts = [
        {name: one[name] for name in ("role", "content")}
        for one in messages
        if isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("role", "content"))
    ]
    if not texts or len(texts) < len(messages):
        raise UserError(f"{where}: messages is not a list of objects with a text role and content")
    answers = tuple(one["content"] for one in texts[-1:] if one["role"] == "assistant")
    asked = texts[: len(texts) - len(answers)]
    if not asked:
        raise UserError(f"{where}: messages hold an answer and nothing that asks for it")
    return TextPrompt(json.dumps(asked, ensure_ascii=False), description, answers, tuple(asked))


def _field(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
    wanted = " or ".join(names)
    found = ", ".join(map(str, row)) or "none"
    raise UserError(f"{where}: no text in the field {wanted}; fields: {found[:200]}")


def _fill(template: Path | None, context: str, question: str) -> str:
    """Put a context and a question where a template says; neither is looked at for braces."""
    pattern = TEMPLATE if template is None else _text("--template", template)
    missing = [name for name in ("{context}", "{question}") if name not in pattern]
    if missing:
        raise UserError(f"--template {template}: holds no {' and no '.join(missing)}; add it")
    parts = pattern.replace("{context}", "\0context\0").replace("{question}", "\0question\0")
    words = {"context": context, "question": question}
    return "".join(
        words[part] if index % 2 else part for index, part in enumerate(parts.split("\0"))
    )


def _text(option: str, path: Path) -> str:
    """Return the text of a file without its byte order mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror}; give a text file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: not UTF-8 text; give a text file") from error
    if not text.strip():
        raise UserError(f"{option} {path}: the text is empty; give some text")
    return text.replace("\0", "")
