"""Training sequences of the reference model: novels mixed with the retrieval tasks.

A sequence is a run of tokens with one loss weight each. Facts are scattered over a stretch of a
novel and asked for later in the same stretch, several times a sequence, so that one sequence trains
many retrievals at many distances.
"""

import random
from dataclasses import dataclass, field

import numpy as np
from tokenizers import Tokenizer

from tracegen.prompts import tasks

TEXT_WEIGHT = 1.0
TASK_WEIGHT = 0.3  # the sentences around a value can be guessed, the value itself cannot
ANSWER_WEIGHT = 6.0
# The first token of an answer says what kind of thing follows; it is the hardest to retrieve.
FIRST_ANSWER_WEIGHT = 20.0
COPY_WEIGHT = 2.5


@dataclass
class Mixture:
    """Draws training sequences; `corpus` is (tokens,) uint16, one novel after the other."""

    corpus: np.ndarray
    tokenizer: Tokenizer
    bos_token_id: int
    rng: random.Random
    kinds: dict[str, float] = field(
        default_factory=lambda: {
            "text": 0.22,
            "needles": 0.58,
            "lookups": 0.06,
            "chains": 0.08,
            "copies": 0.06,
        }
    )

    def sequence(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids (length,) int64 and the loss weight of each (length,) float32."""
        kind = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        if kind == "text":
            ids, weights = self._text(length), np.full(length, TEXT_WEIGHT)
        elif kind == "copies":
            ids, weights = self._copies(length)
        else:
            ids, weights = self._scattered(kind, length)
        ids, weights = ids[: length - 1], weights[: length - 1]
        ids = np.concatenate([[self.bos_token_id], ids])
        return ids.astype(np.int64), np.concatenate([[0.0], weights]).astype(np.float32)

    def batch(self, length: int, n_sequences: int) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids and weights of `n_sequences` sequences, each (n_sequences, length)."""
        made = [self.sequence(length) for _ in range(n_sequences)]
        return np.stack([ids for ids, _ in made]), np.stack([weights for _, weights in made])

    def _text(self, length: int) -> np.ndarray:
        start = self.rng.randrange(len(self.corpus) - length)
        return self.corpus[start : start + length].astype(np.int64)

    def _copies(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Segments of random tokens or of a novel, each repeated after a gap of any size."""
        vocabulary = self.tokenizer.get_vocab_size()
        source = self._text(length)
        if self.rng.random() < 0.4:
            source = np.array([self.rng.randrange(4, vocabulary) for _ in range(length)])
            weights = np.zeros(length)
        else:
            weights = np.full(length, TEXT_WEIGHT)
        for _ in range(max(1, length // 256)):
            size = self.rng.randrange(8, min(96, length // 4))
            start = self.rng.randrange(0, length - 2 * size)
            again = self.rng.randrange(start + size, length - size)
            source[again : again + size] = source[start : start + size]
            weights[again : again + 2] = 0.0
            weights[again + 2 : again + size] = COPY_WEIGHT
        return source, weights

    def _scattered(self, kind: str, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Facts at random places of a novel, their questions at random later places."""
        statements, questions = self._facts(kind, length)
        room = length - sum(map(len, statements)) - sum(len(a) + len(b) for _, a, b in questions)
        text = self._text(max(room, 16))
        sink = len(text)
        # Facts may lie anywhere; half of the questions follow soon, half wait for the end.
        reach = sink if self.rng.random() < 0.5 else sink // 2
        places = sorted(self.rng.randrange(reach + 1) for _ in statements)
        pieces = [
            (place, order, ids, np.full(len(ids), TASK_WEIGHT))
            for order, (place, ids) in enumerate(zip(places, statements, strict=True))
        ]
        for order, (last, asked, answer) in enumerate(questions, start=len(statements)):
            at_end = self.rng.random() < 0.5
            place = sink if at_end else self.rng.randrange(places[last], sink + 1)
            weights = np.full(len(asked) + len(answer), TASK_WEIGHT)
            weights[len(asked) :] = ANSWER_WEIGHT
            weights[len(asked)] = FIRST_ANSWER_WEIGHT
            pieces.append((place, order, np.concatenate([asked, answer]), weights))
        pieces.sort(key=lambda piece: piece[:2])
        ids_parts, weight_parts, done = [], [], 0
        for place, _, ids, weights in pieces:
            cut = max(done, self._sentence_end(text, place))
            ids_parts += [text[done:cut], ids]
            weight_parts += [np.full(cut - done, TEXT_WEIGHT), weights]
            done = cut
        ids_parts.append(text[done:])
        weight_parts.append(np.full(len(text) - done, TEXT_WEIGHT))
        return np.concatenate(ids_parts), np.concatenate(weight_parts)

    def _facts(
        self, kind: str, length: int
    ) -> tuple[list[np.ndarray], list[tuple[int, np.ndarray, np.ndarray]]]:
        """Return statements in order and questions as (index of the statement, asked, answer)."""
        statements: list[np.ndarray] = []
        questions: list[tuple[int, np.ndarray, np.ndarray]] = []
        room = length * self.rng.choice([0.2, 0.4, 0.7])
        while room > 0:
            first = len(statements)
            if kind == "chains":
                texts, asked, value = tasks.chain(
                    self.rng, self.rng.choice([1, 1, 2, 3, 4]), "train"
                )
                asks = [(len(texts) - 1, asked, value)]
            else:
                many = tasks.lookups if kind == "lookups" else tasks.facts
                # Many facts of one form: only their keys tell them apart.
                made = many(self.rng, self.rng.choice([1, 2, 4, 8, 8, 12]), "train")
                texts = [fact.statement for fact in made]
                chosen = self.rng.sample(range(len(made)), -(-3 * len(made) // 4))
                asks = [(index, made[index].question, made[index].value) for index in chosen]
            statements += [self._ids(" " + text.lstrip(" ")) for text in texts]
            for index, asked, value in asks:
                end = self.rng.choice([".", ".\n", "\n", "\n\n"])
                questions.append((first + index, self._ids(asked), self._ids(" " + value + end)))
            room -= sum(map(len, statements[first:]))
            room -= sum(len(a) + len(b) for _, a, b in questions[-len(asks) :])
        return statements, questions

    def _ids(self, text: str) -> np.ndarray:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def _sentence_end(self, text: np.ndarray, place: int) -> int:
        window = text[place : place + 48]
        ends = np.flatnonzero(np.isin(window, self._full_stops()))
        return min(len(text), place + int(ends[0]) + 1) if len(ends) else min(len(text), place)

    def _full_stops(self) -> list[int]:
        ids = (self.tokenizer.token_to_id(mark) for mark in (".", "!", "?", "Ċ"))
        return [token for token in ids if token is not None]
