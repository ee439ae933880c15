"""Measure a language model: perplexity by context length, and retrieval by task and length.

Retrieval samples use sentence forms, relations, keys and haystacks that training never saw
(`prompts.tasks`, split `heldout`). A sample counts when greedy decoding gives exactly the expected
value and then stops giving digits. A prompt ends with the space before the value where that is a
token; whether the model would have written that space by itself is counted apart.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from tracegen.base.errors import UserError
from tracegen.capture.model import LoadedModel
from tracegen.prompts import prompt as prompts
from tracegen.reference_model.corpus import read_corpus

RETRIEVAL_TASKS = ("needle", "multi_needle", "variables")
RETRIEVAL_LENGTHS = (1024, 2048, 4096, 8192)
PERPLEXITY_LENGTHS = (1024, 4096, 8192)
SCORED_TOKENS = 512
Z_95 = 1.959964  # normal quantile of a two-sided 95% interval


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Exact-match accuracy of a task at a length, with its 95% Wilson score interval."""

    task: str
    context_tokens: int
    samples: int
    correct: int
    correct_with_space: int
    accuracy_ratio: float
    low_ratio: float
    high_ratio: float


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Perplexity of the same last tokens of each window, with more or less text before them."""

    context_tokens: int
    windows: int
    scored_tokens: int
    per_token: float
    per_byte: float
    bits_per_byte: float


def wilson(correct: int, samples: int) -> tuple[float, float]:
    """Return the 95% score interval of a proportion (Wilson, JASA 22, 1927)."""
    ratio, z2 = correct / samples, Z_95**2
    centre = (ratio + z2 / (2 * samples)) / (1 + z2 / samples)
    reach = Z_95 * sqrt(ratio * (1 - ratio) / samples + z2 / (4 * samples**2)) / (1 + z2 / samples)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def haystacks(folder: Path | None, tokens: int, seed: int) -> Iterator[str | None]:
    """Yield random stretches of the text in `folder`, long enough for `tokens` tokens."""
    if folder is None:
        while True:
            yield None
    texts = [text for text in read_corpus(folder) if text.strip()]
    rng = random.Random(seed)
    size = 8 * tokens  # characters; no tokenizer of interest takes more than 8 a token on average
    while True:
        text = rng.choice(texts)
        start = rng.randrange(max(1, len(text) - size))
        piece = text[start : start + size]
        while len(piece) < size:
            piece += rng.choice(texts)[:size]
        yield piece


@torch.inference_mode()
def accuracy(
    model: Any,
    tokenizer: Any,
    task: str,
    tokens: int,
    samples: int,
    folder: Path | None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Accuracy:
    """Return the exact-match accuracy of `task` with prompts that end at `tokens` tokens."""
    digits = {
        ids[-1]
        for digit in "0123456789"
        if (ids := tokenizer(digit, add_special_tokens=False)["input_ids"])
    }
    hays = haystacks(folder, tokens, seed)
    correct = with_space = 0
    for sample in range(samples):
        prompt = _with_room(task, tokenizer, tokens, seed * 100003 + sample, next(hays))
        answer = list(tokenizer(prompt.answer, add_special_tokens=False)["input_ids"])
        ids = torch.tensor([[*prompt.token_ids, *answer]], device=model.device)
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(answer) + 2).logits[0]
        before, *greedy = logits.argmax(-1).tolist()
        # Greedy decoding repeats the answer exactly when each next token is the likeliest one.
        right = greedy[:-1] == answer and greedy[-1] not in digits
        correct += right
        with_space += right and before == prompt.token_ids[-1]
        advance()
    low, high = wilson(correct, samples)
    return Accuracy(task, tokens, samples, correct, with_space, correct / samples, low, high)


def _with_room(
    task: str, tokenizer: Any, tokens: int, seed: int, haystack: str | None
) -> prompts.Prompt:
    """Return a prompt that leaves room for its answer within `tokens`."""
    return prompts.build(task, tokenizer, tokens - 12, seed, haystack)


@torch.inference_mode()
def perplexity(
    model: Any,
    tokenizer: Any,
    folder: Path,
    lengths: tuple[int, ...],
    windows: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Perplexity]:
    """Return the perplexity of the same tokens with each context length before them.

    Each text of the folder gives windows of the longest length, evenly spread; the last
    `SCORED_TOKENS` tokens of a window are scored with the last `length` tokens of it visible.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    longest = max(lengths)
    texts = [
        tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        for text in read_corpus(folder)
    ]
    texts = [ids for ids in texts if len(ids) >= longest]
    if not texts:
        raise UserError(
            f"{folder}: no text of at least {longest} tokens, which perplexity needs; "
            "give longer texts or a smaller --max-tokens"
        )
    share = -(-windows // len(texts))
    chosen = []
    for ids in texts:
        step = max(1, (len(ids) - longest) // share)
        chosen += [ids[at : at + longest] for at in range(0, len(ids) - longest + 1, step)][:share]
    chosen = chosen[:windows]
    made = []
    for length in lengths:
        nats, n_bytes = 0.0, 0
        for window in chosen:
            ids = torch.tensor([start + window[-(length - len(start)) :]], device=model.device)
            kept = SCORED_TOKENS + 1
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[0, :-1]
            nats += F.cross_entropy(logits.float(), ids[0, -SCORED_TOKENS:], reduction="sum").item()
            n_bytes += len(tokenizer.decode(window[-SCORED_TOKENS:]).encode())
            advance()
        scored = SCORED_TOKENS * len(chosen)
        made.append(
            Perplexity(
                length,
                len(chosen),
                scored,
                exp(nats / scored),
                exp(nats / n_bytes),
                nats / n_bytes / log(2),
            )
        )
    return made


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one model, and on what."""

    model: str
    text: str | None
    seed: int
    accuracies: tuple[Accuracy, ...]
    perplexities: tuple[Perplexity, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain objects; perplexity is null where no text was given."""
        return {
            "model": self.model,
            "text": self.text,
            "seed": self.seed,
            "accuracy": [asdict(one) for one in self.accuracies],
            "perplexity": [asdict(one) for one in self.perplexities] or None,
        }

    def as_text(self) -> str:
        """Return two tables in Markdown."""
        haystack = f"texts of {self.text}" if self.text else "generated sentences"
        lines = [
            f"{self.model}: exact match, haystacks from {haystack}, seed {self.seed}",
            "",
            "| task | context (tokens) | correct | accuracy | 95% interval | space written too |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {a.task} | {a.context_tokens} | {a.correct} of {a.samples} "
            f"| {a.accuracy_ratio:.1%} | {a.low_ratio:.1%} to {a.high_ratio:.1%} "
            f"| {a.correct_with_space} |"
            for a in self.accuracies
        ]
        if not self.perplexities:
            return "\n".join([*lines, "", "perplexity: not measured; give --text DIR"])
        lines += [
            "",
            f"perplexity of the last {SCORED_TOKENS} tokens of each window",
            "",
            "| context (tokens) | windows | per token | per byte | bits per byte |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {p.context_tokens} | {p.windows} | {p.per_token:.2f} | {p.per_byte:.4f} "
            f"| {p.bits_per_byte:.4f} |"
            for p in self.perplexities
        ]
        return "\n".join(lines)


def evaluate(
    loaded: LoadedModel,
    text: Path | None,
    samples: int,
    windows: int,
    max_tokens: int,
    seed: int,
    report: Callable[[int, int], object],
) -> Figures:
    """Measure a model at every length up to `max_tokens`; `report` gets (done, total).

    Raises:
        UserError: the text folder is missing or holds no text, or no length fits the model.
    """
    lengths = [n for n in RETRIEVAL_LENGTHS if n <= max_tokens]
    contexts = tuple(n for n in PERPLEXITY_LENGTHS if n <= max_tokens)
    if not lengths:
        raise UserError(
            f"{loaded.name}: contexts end at {max_tokens} tokens and the shortest measured is "
            f"{RETRIEVAL_LENGTHS[0]}; use a model with a longer context"
        )
    if text is not None:
        read_corpus(text)
    total = len(lengths) * len(RETRIEVAL_TASKS) * samples
    total += len(contexts) * windows if text is not None else 0
    done = itertools.count(1)

    def advance() -> None:
        report(next(done), total)

    accuracies = tuple(
        accuracy(loaded.model, loaded.tokenizer, task, n, samples, text, seed, advance)
        for task in RETRIEVAL_TASKS
        for n in lengths
    )
    perplexities: tuple[Perplexity, ...] = ()
    if text is not None:
        perplexities = tuple(
            perplexity(loaded.model, loaded.tokenizer, text, contexts, windows, advance)
        )
    return Figures(loaded.name, None if text is None else text.name, seed, accuracies, perplexities)
