"""From the words of the command line to the prompts that they stand for."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracegen.base.errors import UserError, nearest
from tracegen.base.numbers import whole_number
from tracegen.base.pairs import parse_pairs

if TYPE_CHECKING:
    from tracegen.prompts.files import TextPrompt

DEFAULT_PROMPT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Words:
    """What the command line said about the prompt."""

    prompt: str | None = None
    prompt_file: Path | None = None
    row: int | None = None
    question: str | None = None
    template: Path | None = None
    chat: bool = False
    prompts: int | None = None
    """How many prompts: seeds or rows from the one given; None: that one alone."""


@dataclass(frozen=True, slots=True)
class Task:
    """A generated prompt: what `--prompt` named."""

    name: str
    tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Source:
    """One prompt, before a tokenizer is there."""

    name: str
    """Of its trace in a folder of traces."""
    given: "Task | TextPrompt"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's tokens, where they came from, and the answers that are expected, perhaps none."""

    token_ids: list[int]
    description: dict[str, Any]
    answers: tuple[str, ...]


def sources(words: Words) -> list[Source]:
    """Return the prompts that the words ask for; files are read here.

    Raises:
        UserError: any of the words is wrong.
    """
    if (words.prompt is None) == (words.prompt_file is None):
        raise UserError("give either --prompt TASK or --prompt-file FILE, and not both")
    if words.prompts is not None and words.prompts < 1:
        raise UserError(f"--prompts is {words.prompts}; give at least 1")
    return list(_tasks(words) if words.prompt is not None else _texts(words))


def _tasks(words: Words) -> Iterator[Source]:
    assert words.prompt is not None
    for option in ("row", "question", "template"):
        if getattr(words, option) is not None:
            raise UserError(f"--{option} belongs to --prompt-file; leave it out with --prompt")
    task = parse_prompt(words.prompt)
    for seed in range(task.seed, task.seed + (words.prompts or 1)):
        yield Source(f"{task.name}-{seed:04d}", Task(task.name, task.tokens, seed))


def _texts(words: Words) -> Iterator[Source]:
    from tracegen.prompts.files import ROWS, read

    path, row = words.prompt_file, words.row
    assert path is not None
    if words.prompts is not None:
        if path.suffix.lower() != ROWS:
            raise UserError(
                f"--prompts: {path} is one prompt; give a {ROWS} file of prompts, or --prompt TASK"
            )
        row = row or 0
    for number in range(words.prompts or 1):
        at = None if row is None else row + number
        text = read(path, row=at, question=words.question, template=words.template)
        yield Source(f"{path.stem}-{at or 0:04d}", text)


def prompt_of(source: Source, loaded: Any, forced: int, in_chat: bool) -> Prompt:
    """Return a source's tokens for a model; a generated one is `forced` tokens longer than asked.

    Raises:
        UserError: the text cannot be made, or the model has no chat template.
    """
    if isinstance(source.given, Task):
        return _generated(loaded, source.given, forced, in_chat)
    return _from_file(loaded, source.given, in_chat)


def _generated(loaded: Any, task: Task, forced: int, in_chat: bool) -> Prompt:
    from tracegen.prompts import frame
    from tracegen.prompts.prompt import build

    around = frame.chat(loaded.tokenizer, loaded.name) if in_chat else None
    built = build(task.name, loaded.tokenizer, task.tokens + forced, task.seed, around=around)
    description = {"task": task.name, "seed": task.seed, "text": built.description}
    return _prompt(list(built.token_ids), description, built.text, in_chat, built.answers)


def _from_file(loaded: Any, given: "TextPrompt", in_chat: bool) -> Prompt:
    from tracegen.prompts import frame

    tokenizer = loaded.tokenizer
    if given.messages:
        ids = frame.conversation(tokenizer, loaded.name, given.messages)
        return _prompt(ids, dict(given.description), given.text, True, given.answers)
    around = frame.chat(tokenizer, loaded.name) if in_chat else frame.plain(tokenizer)
    ids = around.around(frame.text_ids(tokenizer, given.text))
    return _prompt(ids, dict(given.description), given.text, in_chat, given.answers)


def _prompt(
    ids: list[int], description: dict[str, Any], text: str, in_chat: bool, answers: Sequence[str]
) -> Prompt:
    known = tuple(one for one in answers if one)
    description |= {"chat": True} if in_chat else {}
    description |= {"answers": list(known)} if known else {}
    description["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return Prompt(ids, description, known)


def parse_prompt(text: str) -> Task:
    """Read TASK[:tokens=4096,seed=0].

    Raises:
        UserError: an unknown task or parameter, or a value that is not a whole number.
    """
    from tracegen.prompts.prompt import KINDS

    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise UserError(f"--prompt {text}: no task {name!r}; {nearest(name, KINDS)}")
    values = {"tokens": DEFAULT_PROMPT_TOKENS, "seed": 0}
    for key, value in parse_pairs(f"--prompt {text}", rest).items():
        if key not in values:
            raise UserError(f"--prompt {text}: no parameter {key!r}; {nearest(key, values)}")
        number = whole_number(value, least=1 if key == "tokens" else 0)
        if number is None:
            raise UserError(f"--prompt {text}: {key} is {value!r}; give a whole number")
        values[key] = number
    return Task(name, values["tokens"], values["seed"])
