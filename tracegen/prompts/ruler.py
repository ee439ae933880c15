"""The eleven generated kinds of RULER, at any length.

Hsieh et al., "RULER: What's the Real Context Size of Your Long-Context Language Models?", COLM 2024
(arXiv 2404.06654); kinds, templates and numbers of needles, hops and words as NVIDIA/RULER,
scripts/synthetic.yaml and scripts/data/synthetic/. Code, words and the text around the needles are
our own: its essays and word lists are not part of this project, so scores compare policies here
and are not those of the published leaderboard. The score is its `string_match_all`: the share of
the expected strings that are found.
"""

import math
import random
import string
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from tracegen.prompts import filler, words

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."


@dataclass(frozen=True, slots=True)
class Example:
    """A text that asks for strings: `text` is followed by `reply` where everything is right."""

    text: str
    answers: tuple[str, ...]
    """The expected strings, in the order in which `reply` has them."""
    reply: str


Make = Callable[[random.Random, int], Example]
"""Makes an example with so much text around what is asked for."""


def score(prediction: str, answers: Iterable[str]) -> float:
    """Return the share of the expected strings that are in a prediction, whatever the case.

    >>> score("They are 12 and 34.", ["12", "99"])
    0.5
    """
    found = [answer.lower() in prediction.lower() for answer in answers]
    return sum(found) / len(found)


def _number(rng: random.Random) -> str:
    return str(rng.randint(10**6, 10**7 - 1))


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


_MAKERS = {"words": words.pair, "numbers": _number, "uuids": _uuid}


@dataclass(frozen=True, slots=True)
class _Needles:
    """Facts `One of the special magic numbers for KEY is: VALUE.` hidden in a text."""

    haystack: str
    """noise (one sentence, repeated), essay (sentences), or needle (more such facts)."""
    key: str = "words"
    value: str = "numbers"
    keys: int = 1
    values: int = 1
    queries: int = 1

    def __call__(self, rng: random.Random, size: int) -> Example:
        """Return an example with `size` sentences around the needles."""
        keys = self._distinct(rng, self.key, self.keys)
        values = self._distinct(rng, self.value, self.keys * self.values)
        of_key = [values[i * self.values : (i + 1) * self.values] for i in range(self.keys)]
        facts = [self._fact(key, one) for key, own in zip(keys, of_key, strict=True) for one in own]
        rng.shuffle(facts)
        context = _hide(rng, self._sentences(rng, size), facts)
        joint = " " if self.haystack == "essay" else "\n"
        asked = rng.sample(range(self.keys), self.queries)
        query = _list([keys[i] for i in asked])
        answers = [one for i in asked for one in of_key[i]]
        many = len(answers) > 1
        kind = self.value if many else self.value.removesuffix("s")
        some, are_all, are = ("Some", "are all", "are") if many else ("A", "is", "is")
        text = (
            f"{some} special magic {kind} {are} hidden within the following text. Make sure to "
            f"memorize it. I will quiz you about the {kind} afterwards.\n{joint.join(context)}\n"
            f"What {are_all} the special magic {kind} for {query} mentioned in the provided text? "
            f"The special magic {kind} for {query} mentioned in the provided text {are}"
        )
        return Example(text, tuple(answers), f" {_list(answers)}")

    def _fact(self, key: str, value: str) -> str:
        return f"One of the special magic {self.value} for {key} is: {value}."

    def _sentences(self, rng: random.Random, size: int) -> list[str]:
        if self.haystack == "noise":
            return [NOISE] * size
        if self.haystack == "essay":
            return filler.sentence_list(rng, size)
        makers = _MAKERS[self.key], _MAKERS[self.value]
        return [self._fact(makers[0](rng), makers[1](rng)) for _ in range(size)]

    def _distinct(self, rng: random.Random, kind: str, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            found[_MAKERS[kind](rng)] = None
        return list(found)


def _variable_tracking(rng: random.Random, size: int) -> Example:
    """One value handed on through four assignments; a short example of another one comes first."""
    shown = _chain(rng, 3, 2)
    asked = _chain(rng, 5, size)
    return Example(shown.text + shown.reply + "\n" + asked.text, asked.answers, asked.reply)


def _chain(rng: random.Random, letters: int, size: int) -> Example:
    names: dict[str, None] = {}
    while len(names) < 5:
        names["".join(rng.choices(string.ascii_uppercase, k=letters))] = None
    variables, value = list(names), str(rng.randint(10_000, 99_999))
    steps = [f"VAR {variables[0]} = {value}"]
    steps += [f"VAR {after} = VAR {before}" for before, after in pairwise(variables)]
    context = "\n".join(_hide(rng, [NOISE] * size, steps))
    text = (
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
        f"{context}\nQuestion: Find all variables that are assigned the value {value} in the text "
        "above. Answer: According to the chain(s) of variable assignment in the text above, "
        f"{len(variables)} variables are assigned the value {value}, they are:"
    )
    return Example(text, tuple(variables), " " + " ".join(variables))


def _common_words(rng: random.Random, size: int) -> Example:
    """A list in which ten words come thirty times, the others three; a short one comes first."""
    shown = _word_list(rng, 30, 10, 3)
    asked = _word_list(rng, size, 30, 3)
    return Example(shown.text + shown.reply + "\n" + asked.text, asked.answers, asked.reply)


def _word_list(rng: random.Random, others: int, often: int, rarely: int) -> Example:
    chosen = words.distinct(rng, 10 + others)
    entries = chosen[:10] * often + chosen[10:] * rarely
    rng.shuffle(entries)
    context = " ".join(f"{i}. {word}" for i, word in enumerate(entries, 1))
    text = (
        "Below is a numbered list of words. In these words, some appear more often than others. "
        f"Memorize the ones that appear most often.\n{context}\nQuestion: What are the 10 most "
        "common words in the above list? Answer: The top 10 words that appear most often in the "
        "list are:"
    )
    reply = " " + " ".join(f"{i}. {word}" for i, word in enumerate(chosen[:10], 1))
    return Example(text, tuple(chosen[:10]), reply)


def _frequent_words(rng: random.Random, size: int) -> Example:
    """Coded words whose counts fall with the square of their rank; the first rank is noise."""
    size += 100  # fewer words would not tell the third rank from the fourth
    coded: dict[str, None] = {}
    while len(coded) < size // 8:
        coded["".join(rng.choices(string.ascii_lowercase, k=6))] = None
    ranked = ["...", *list(coded)[1:]]
    # Zeta distribution of exponent 2: count of rank k = size k^-2 / (pi^2 / 6)
    counts = [int(size * 6 / math.pi**2 / rank**2) for rank in range(1, len(ranked) + 1)]
    text_words = [one for one, count in zip(ranked, counts, strict=True) for _ in range(count)]
    rng.shuffle(text_words)
    text = (
        "Read the following coded text and track the frequency of each coded word. Find the three "
        f"most frequently appeared coded words. {' '.join(text_words)}\nQuestion: Do not provide "
        "any explanation. Please ignore the dots '....'. What are the three most frequently "
        "appeared words in the above coded text? Answer: According to the coded text above, the "
        "three most frequently appeared words are:"
    )
    answers = tuple(ranked[1:4])
    return Example(text, answers, f" {_list(list(answers))}")


def _hide(rng: random.Random, sentences: list[str], facts: list[str]) -> list[str]:
    """Put facts, in their order, at random places between sentences."""
    places = sorted(rng.randrange(len(sentences) + 1) for _ in facts)
    parts: list[str] = []
    done = 0
    for place, fact in zip(places, facts, strict=True):
        parts += [*sentences[done:place], fact]
        done = place
    return parts + sentences[done:]


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + ", and " + items[-1]


KINDS: dict[str, Make] = {
    "niah_single_1": _Needles("noise"),
    "niah_single_2": _Needles("essay"),
    "niah_single_3": _Needles("essay", value="uuids"),
    "niah_multikey_1": _Needles("essay", keys=4),
    "niah_multikey_2": _Needles("needle"),
    "niah_multikey_3": _Needles("needle", key="uuids", value="uuids"),
    "niah_multivalue": _Needles("essay", values=4),
    "niah_multiquery": _Needles("essay", keys=4, queries=4),
    "vt": _variable_tracking,
    "cwe": _common_words,
    "fwe": _frequent_words,
}
"""Every kind under RULER's own name."""
