"""What a model is measured on: continuations of text, and prompts that ask for strings."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError, nearest
from tracegen.base.location import local_path
from tracegen.base.numbers import whole_number
from tracegen.base.pairs import parse_pairs
from tracegen.prompts import frame
from tracegen.prompts.files import ROWS, read
from tracegen.prompts.prompt import KINDS, build

TEXT = "perplexity"
QUESTIONS = "questions"
KNOWN = (TEXT, QUESTIONS, *(kind for kind in KINDS if kind != "text"))
PARAMETERS = {TEXT: ("path", "tokens", "steps", "prompts"), QUESTIONS: ("path", "prompts")}
"""Of these kinds; all others have `GENERATED`."""
GENERATED = ("tokens", "prompts", "seed")
_DEFAULTS = {"tokens": 4096, "steps": 512, "prompts": 25, "seed": 0}


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and the tokens that follow it: the model is asked for each of them in turn."""

    number: int
    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    target_bytes: tuple[int, ...]
    """UTF-8 bytes of each target's text."""
    answer: tuple[int, ...]
    """Which of the expected strings a target belongs to, -1 none."""

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(repr((self.prompt_ids, self.target_ids)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Task:
    """`KIND:parameter=value,...`: a kind, its length and how many examples of it."""

    kind: str
    tokens: int
    steps: int
    prompts: int
    seed: int
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """What results call it."""
        if self.kind == QUESTIONS:
            return f"{self.kind}:{self.files[0].stem}"
        return f"{self.kind}:{self.tokens}"

    def examples(self, tokenizer: Any) -> Iterator[Example]:
        """Make the examples one after the other.

        Raises:
            UserError: a text is shorter than asked, or the tokens are too few for the kind.
        """
        make = {TEXT: self._text, QUESTIONS: self._row}.get(self.kind, self._asked)
        for number in range(self.prompts):
            yield make(tokenizer, number)

    def _text(self, tokenizer: Any, number: int) -> Example:
        """Return a piece of a text: the files in turn, each in equal distances."""
        path, piece = self.files[number % len(self.files)], number // len(self.files)
        pieces = -(-(self.prompts - number % len(self.files)) // len(self.files))
        ids = tokenizer(_read(path), add_special_tokens=False, verbose=False)["input_ids"]
        start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
        wanted = self.tokens - len(start)
        if len(ids) < wanted * pieces:
            raise UserError(
                f"--task {TEXT}: {path.name} has {len(ids):,} tokens and {pieces} pieces of "
                f"{wanted:,} are asked for; give longer texts, fewer tokens or fewer prompts"
            )
        first = len(ids) * piece // pieces
        whole = [*start, *ids[first : first + wanted]]
        targets = whole[-self.steps :]
        return Example(
            number,
            tuple(whole[: -self.steps]),
            tuple(targets),
            tuple(_bytes(tokenizer, targets)),
            (-1,) * self.steps,
        )

    def _asked(self, tokenizer: Any, number: int) -> Example:
        """Return a generated prompt; prompt and expected reply together have at most `tokens`."""
        seed = self.seed + number
        reply = build(self.kind, tokenizer, self.tokens, seed)
        room = len(tokenizer(reply.answer, add_special_tokens=False)["input_ids"])
        made = build(self.kind, tokenizer, self.tokens - room, seed)
        return _answered(tokenizer, number, made.token_ids, made.answer, made.answers)

    def _row(self, tokenizer: Any, number: int) -> Example:
        """Return a row of a file of questions; the first of its answers is the expected one."""
        path = self.files[0]
        row = read(path, row=number)
        if row.messages or not row.answers or not row.answers[0].strip():
            found = "a conversation" if row.messages else "no answer"
            raise UserError(
                f"--task {QUESTIONS}: {path}, row {number}: {found}; give rows with a question and "
                "its answers"
            )
        ids = [*frame.plain(tokenizer).before, *frame.text_ids(tokenizer, row.text)]
        answer = row.answers[0].strip()
        reply = answer if row.text[-1:].isspace() else f" {answer}"
        return _answered(tokenizer, number, ids, reply, [answer])


def parse_task(text: str) -> Task:
    """Read `perplexity:path=FOLDER,tokens=4096,steps=512,prompts=6`, `questions:path=FILE.jsonl`.

    All others are KIND:tokens=..,prompts=..,seed=..

    Raises:
        UserError: an unknown kind or parameter, a value that is not a whole number, no texts.
    """
    kind, _, rest = text.partition(":")
    if kind not in KNOWN:
        raise UserError(f"--task {text}: no kind {kind!r}; {nearest(kind, KNOWN)}")
    mine = PARAMETERS.get(kind, GENERATED)
    values, files = dict(_DEFAULTS), tuple[Path, ...]()
    for key, value in parse_pairs(f"--task {text}", rest).items():
        if key not in mine:
            raise UserError(f"--task {text}: no parameter {key!r} of {kind}; {nearest(key, mine)}")
        if key == "path":
            files = _files(value) if kind == TEXT else (_rows(value),)
            continue
        number = whole_number(value, least=0 if key == "seed" else 1)
        if number is None:
            raise UserError(f"--task {text}: {key} is {value!r}; give a whole number above 0")
        values[key] = number
    if kind == QUESTIONS and not files:
        raise UserError(f"--task {text}: say which questions, path=FILE{ROWS}")
    if kind == TEXT and not files:
        raise UserError(f"--task {text}: say which text, path=FOLDER or path=FILE.txt")
    if kind == TEXT and values["steps"] + 2 > values["tokens"]:
        raise UserError(
            f"--task {text}: {values['steps']} steps of {values['tokens']} tokens leave no prompt; "
            "give fewer steps or more tokens"
        )
    return Task(kind, **values, files=files)


def _files(text: str) -> tuple[Path, ...]:
    where = local_path(text)
    if where.is_dir():
        files = tuple(sorted(where.rglob("*.txt")))
        if not files:
            raise UserError(f"--task {TEXT}: {text} holds no .txt files; give a folder of texts")
        return files
    if not where.is_file():
        raise UserError(f"--task {TEXT}: {text}: no such file or folder; give texts in UTF-8")
    return (where,)


def _rows(text: str) -> Path:
    path = local_path(text)
    if path.suffix.lower() != ROWS or not path.is_file():
        raise UserError(f"--task {QUESTIONS}: {text}: no such {ROWS} file; give rows of questions")
    return path


def _answered(
    tokenizer: Any, number: int, prompt: Sequence[int], reply: str, answers: Sequence[str]
) -> Example:
    """Return a prompt with the reply that is expected and the strings in it."""
    coded = tokenizer(reply, add_special_tokens=False, return_offsets_mapping=True)
    return Example(
        number,
        tuple(prompt),
        tuple(coded["input_ids"]),
        tuple(_bytes(tokenizer, coded["input_ids"])),
        tuple(_belongs(reply, answers, coded["offset_mapping"])),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--task {TEXT}: {path}: cannot be read as UTF-8 text") from error


def _bytes(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Return how many bytes each token adds to the text: what decoding longer runs shows."""
    ends = [len(tokenizer.decode(ids[:stop]).encode()) for stop in range(len(ids) + 1)]
    return [after - before for before, after in pairwise(ends)]


def _belongs(reply: str, answers: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield for each token of a reply the expected string that it overlaps, -1 for none."""
    places, begin = [], 0
    for answer in answers:
        begin = reply.index(answer, begin)
        places.append((begin, begin + len(answer)))
        begin += len(answer)
    for first, stop in spans:
        inside = [n for n, (a, b) in enumerate(places) if first < b and stop > a]
        # a token that is only the space before a string begins where that string does not
        yield inside[0] if inside and reply[first:stop].strip() else -1
