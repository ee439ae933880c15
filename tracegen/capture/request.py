"""From the words of the command line to a capture: which prompt, which layers, which model."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracegen.base.errors import UserError, nearest
from tracegen.base.folder import refuse_existing
from tracegen.base.numbers import parse_ranges, whole_number
from tracegen.trace.schema import MANIFEST
from tracegen.trace.store import Trace

if TYPE_CHECKING:
    from tracegen.prompts.files import TextPrompt

DEFAULT_PROMPT_TOKENS = 4096
MOST_LAYERS = 10_000
"""More than any model has: nobody means a longer range, which is not expanded."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the command line said about the prompt."""

    prompt: str | None = None
    prompt_file: Path | None = None
    row: int | None = None
    question: str | None = None
    template: Path | None = None
    chat: bool = False


def capture_command(
    words: Words,
    *,
    model: str,
    decode_steps: int,
    layers: str,
    dtype: str,
    device: str,
    trust_remote_code: bool,
    teacher_forced: bool,
    max_gb: float | None,
    out: str,
    overwrite: bool,
    announce: Callable[[str], None],
) -> Trace:
    """Do what `tracegen capture` was asked to.

    Everything that can be refused without the model is refused before it is loaded.

    Raises:
        UserError: any of the words is wrong, or the capture is refused.
    """
    if (words.prompt is None) == (words.prompt_file is None):
        raise UserError("give either --prompt TASK or --prompt-file FILE, and not both")
    if decode_steps < 1:
        raise UserError(f"--decode-steps is {decode_steps}; give at least 1")
    if max_gb is not None and max_gb <= 0:
        raise UserError(f"--max-gb is {max_gb:g}; give a size above 0")
    wanted_layers = parse_layers(layers)
    task, text = _task(words), _text(words)
    refuse_existing(out, overwrite=overwrite, marker=MANIFEST)

    from tracegen.capture.model import load
    from tracegen.capture.plan import Request
    from tracegen.capture.run import capture

    loaded = load(model, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    forced = decode_steps if teacher_forced else 0
    if task is not None:
        _refuse_beyond_context(loaded, task[1], decode_steps)
        prompt = _generated(loaded, task, forced, words.chat)
    else:
        assert text is not None
        prompt = _from_file(loaded, text, words.chat)
    ids = prompt.token_ids
    if forced and len(ids) <= forced:
        raise UserError(
            f"--teacher-forced takes the last {forced} tokens of the text as decode steps and it "
            f"has {len(ids)}; give a longer text or fewer --decode-steps"
        )
    request = Request(
        prompt_ids=ids[: len(ids) - forced],
        decode_steps=decode_steps,
        description=prompt.description,
        layers=wanted_layers,
        forced_ids=ids[len(ids) - forced :] if forced else None,
        max_gb=max_gb,
    )
    trace = capture(loaded, request, out, overwrite=overwrite, announce=announce)
    if not forced:
        announce(f"the model goes on: {_answer(trace, loaded)!r}")
        if prompt.answers:
            announce(f"expected: {', '.join(prompt.answers)}")
    return trace


@dataclass(frozen=True, slots=True)
class _Prompt:
    token_ids: list[int]
    description: dict[str, Any]
    answers: tuple[str, ...]


def _task(words: Words) -> tuple[str, int, int] | None:
    if words.prompt is None:
        return None
    for option in ("row", "question", "template"):
        if getattr(words, option) is not None:
            raise UserError(f"--{option} belongs to --prompt-file; leave it out with --prompt")
    return parse_prompt(words.prompt)


def _text(words: Words) -> "TextPrompt | None":
    if words.prompt_file is None:
        return None
    from tracegen.prompts.files import read

    return read(words.prompt_file, row=words.row, question=words.question, template=words.template)


def _generated(loaded: Any, task: tuple[str, int, int], forced: int, in_chat: bool) -> _Prompt:
    """Return a generated prompt, `forced` tokens longer than asked for."""
    from tracegen.prompts import frame
    from tracegen.prompts.prompt import build

    name, n_tokens, seed = task
    around = frame.chat(loaded.tokenizer, loaded.name) if in_chat else None
    built = build(name, loaded.tokenizer, n_tokens + forced, seed, around=around)
    description = {"task": name, "seed": seed, "text": built.description}
    return _prompt(list(built.token_ids), description, built.text, in_chat, built.answers)


def _from_file(loaded: Any, given: "TextPrompt", in_chat: bool) -> _Prompt:
    from tracegen.prompts import frame

    tokenizer = loaded.tokenizer
    around = frame.chat(tokenizer, loaded.name) if in_chat else frame.plain(tokenizer)
    ids = around.around(frame.text_ids(tokenizer, given.text))
    return _prompt(ids, dict(given.description), given.text, in_chat, given.answers)


def _prompt(
    ids: list[int], description: dict[str, Any], text: str, in_chat: bool, answers: Sequence[str]
) -> _Prompt:
    known = tuple(one for one in answers if one)
    description |= {"chat": True} if in_chat else {}
    description |= {"answers": list(known)} if known else {}
    description["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return _Prompt(ids, description, known)


def _answer(trace: Trace, loaded: Any) -> str:
    """Return what the model decoded, up to the end of its turn or text."""
    ids = trace.tokens()["token_id"].to_list()[trace.manifest.prompt_tokens :]
    ends = loaded.model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends])
    until = next((index for index, one in enumerate(ids) if one in stops), len(ids))
    return str(loaded.tokenizer.decode(ids[:until]))


def parse_prompt(text: str) -> tuple[str, int, int]:
    """Read TASK[:tokens=4096,seed=0] into the task, its tokens and its seed.

    Raises:
        UserError: an unknown task or parameter, or a value that is not a whole number.
    """
    from tracegen.prompts.prompt import KINDS

    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise UserError(f"--prompt {text}: no task {name!r}; {nearest(name, KINDS)}")
    values = {"tokens": DEFAULT_PROMPT_TOKENS, "seed": 0}
    for part in rest.split(",") if rest else []:
        key, _, value = (one.strip() for one in part.partition("="))
        if key not in values:
            raise UserError(f"--prompt {text}: no parameter {key!r}; {nearest(key, values)}")
        number = whole_number(value, least=1 if key == "tokens" else 0)
        if number is None:
            raise UserError(f"--prompt {text}: {key} is {value!r}; give a whole number")
        values[key] = number
    return name, values["tokens"], values["seed"]


def parse_layers(text: str) -> list[int] | None:
    """Read all, or numbers and ranges such as 0,2,8-15; None means all.

    Raises:
        UserError: something else.
    """
    if text.strip() == "all":
        return None
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise UserError(f"--layers {text[:40]}: {error}; give all, or e.g. 0,2,8-15") from None
    last = max(part[-1] for part in ranges)
    if last >= MOST_LAYERS:
        raise UserError(f"--layers: {last} is more than any model has; give all, or e.g. 0,2,8-15")
    return sorted({layer for part in ranges for layer in part})


def _refuse_beyond_context(loaded: Any, n_tokens: int, decode_steps: int) -> None:
    """Refuse too long a task before its text is made."""
    context = loaded.context_tokens
    if context is not None and n_tokens + decode_steps > context:
        raise UserError(
            f"{n_tokens:,} prompt tokens and {decode_steps:,} decode steps are beyond the context "
            f"of {loaded.name}, {context:,} tokens; shorten the prompt or take fewer steps"
        )
