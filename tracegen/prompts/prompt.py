"""Prompts of an exact length in tokens: a task of `tracegen.prompts.tasks` in a haystack of text.

The sentences are held out from the training of the reference model.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracegen.base.errors import UserError, nearest
from tracegen.prompts import filler, ruler, tasks
from tracegen.prompts.frame import Frame, start_token, text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASKS = {
    "needle": "one fact hidden in the text, asked for at the end",
    "multi_needle": "eight facts of one form hidden in the text, one of them asked for at the end",
    "lookup": "forty key-value records in the text, one of them asked for at the end",
    "variables": "two chains of three assignments, the last variable of one asked for",
    "text": "plain generated sentences, no question",
}
KINDS = (*TASKS, *ruler.KINDS)
"""Everything that `build` takes."""
N_NEEDLES = 8
N_RECORDS = 40
N_HOPS = 2


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what it asks: `answer` is the expected continuation, empty where none is.

    `answers` are the strings in it that count. Where a tokenizer makes a token of its own of the
    space before the answer, the prompt ends with that space (prompts of RULER never do).
    """

    text: str
    token_ids: tuple[int, ...]
    description: str
    answer: str
    answers: tuple[str, ...] = ()


def build(
    task: str,
    tokenizer: "PreTrainedTokenizerBase",
    n_tokens: int,
    seed: int = 0,
    haystack: str | None = None,
    around: Frame | None = None,
) -> Prompt:
    """Return a prompt of exactly `n_tokens` tokens for `task`; for kinds of RULER, at most that.

    Args:
        task: a name in `KINDS`.
        tokenizer: the model's own; its first token is put first where it has one.
        n_tokens: length of the prompt in tokens.
        seed: what makes the prompt; the same seed gives the same prompt.
        haystack: text around the facts, at least `n_tokens` long; generated when None (kinds of
            RULER always make their own).
        around: what stands around the text; the start token when None.

    Raises:
        UserError: the task is unknown, or `n_tokens` is too few for it.
    """
    around = start_token(tokenizer) if around is None else around
    if task in ruler.KINDS:
        return _fitted(task, tokenizer, n_tokens, seed, around)
    if task not in TASKS:
        raise UserError(f"prompt task {task!r} is unknown; {nearest(task, KINDS)}")
    rng = random.Random(f"{task}/{seed}")
    statements, question, answer = _hidden(task, rng)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    start, ends = list(around.before), [*ids(question), *around.after]
    space = ids(answer)[:1]
    if answer and not around.after and tokenizer.decode(space) == " ":
        ends, answer = ends + space, answer[1:]
    hidden = [ids(" " + text.lstrip(" ")) for text in statements]
    room = n_tokens - len(start) - len(ends) - sum(map(len, hidden))
    if room < 0:
        raise UserError(
            f"prompt task {task!r} needs at least {n_tokens - room} tokens and {n_tokens} are "
            "asked for; ask for more"
        )
    if haystack is None:
        haystack = filler.sentences(rng, 6 * room)
    hay = ids(haystack)
    if len(hay) < room:
        raise UserError(
            f"the haystack has {len(hay)} tokens and {room} are needed; give a longer text"
        )
    parts = _scatter(rng, hay[:room], hidden, _sentence_ends(tokenizer))
    token_ids = (*start, *parts, *ends)
    return Prompt(
        text=tokenizer.decode(token_ids),
        token_ids=token_ids,
        description=f"{task}, {n_tokens} tokens, seed {seed}",
        answer=answer,
        answers=(answer.strip(),) if answer.strip() else (),
    )


def _fitted(
    kind: str, tokenizer: "PreTrainedTokenizerBase", n_tokens: int, seed: int, around: Frame
) -> Prompt:
    """Return RULER's prompt with as much text around the question as the tokens allow."""

    def made(size: int) -> tuple[ruler.Example, list[int]]:
        example = ruler.KINDS[kind](random.Random(f"{kind}/{seed}"), size)
        return example, around.around(text_ids(tokenizer, example.text))

    fits, beyond = 1, 2
    least = len(made(fits)[1])
    if least > n_tokens:
        raise UserError(
            f"prompt task {kind!r} needs at least {least} tokens and {n_tokens} are asked for; "
            "ask for more"
        )
    while len(made(beyond)[1]) <= n_tokens:
        fits, beyond = beyond, 2 * beyond
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if len(made(middle)[1]) <= n_tokens:
            fits = middle
        else:
            beyond = middle
    example, ids = made(fits)
    return Prompt(
        text=example.text,
        token_ids=tuple(ids),
        description=f"{kind}, at most {n_tokens} tokens, seed {seed}",
        answer=example.reply,
        answers=example.answers,
    )


def _hidden(task: str, rng: random.Random) -> tuple[list[str], str, str]:
    """Return the statements to hide, the question and its answer."""
    if task == "text":
        return [], "", ""
    if task == "variables":
        texts, question, value = tasks.chain(rng, N_HOPS, "heldout")
        others, _, _ = tasks.chain(rng, N_HOPS, "heldout")
        mixed = [text for pair in zip(texts, others, strict=True) for text in pair]
        return mixed, question, " " + value
    if task == "lookup":
        made = tasks.lookups(rng, N_RECORDS, "heldout")
    else:
        made = tasks.facts(rng, 1 if task == "needle" else N_NEEDLES, "heldout")
    asked = rng.choice(made)
    return [fact.statement for fact in made], asked.question, " " + asked.value


def _sentence_ends(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    marks = (tokenizer(mark, add_special_tokens=False)["input_ids"] for mark in ".!?\n")
    return {ids[-1] for ids in marks if ids}


def _scatter(
    rng: random.Random, hay: list[int], hidden: Sequence[list[int]], ends: set[int]
) -> list[int]:
    """Put each hidden text at a random place of the haystack, after a sentence where one ends."""
    places = sorted(rng.randrange(len(hay) + 1) for _ in hidden)
    parts: list[int] = []
    done = 0
    for place, text in zip(places, hidden, strict=True):
        near = (at + 1 for at in range(place, min(place + 64, len(hay))) if hay[at] in ends)
        cut = max(done, next(near, place))
        parts += hay[done:cut] + text
        done = cut
    return parts + hay[done:]
