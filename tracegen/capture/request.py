"""From the words of the command line to a capture: which prompt, which layers, which model."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError, nearest
from tracegen.base.folder import refuse_existing
from tracegen.base.numbers import parse_ranges, whole_number
from tracegen.trace.schema import MANIFEST
from tracegen.trace.store import Trace

DEFAULT_PROMPT_TOKENS = 4096
MOST_LAYERS = 10_000
"""More than any model has: nobody means a longer range, which is not expanded."""


def capture_command(
    *,
    model: str,
    prompt: str | None,
    prompt_file: Path | None,
    decode_steps: int,
    layers: str,
    dtype: str,
    device: str,
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
    if (prompt is None) == (prompt_file is None):
        raise UserError("give either --prompt TASK or --prompt-file FILE, and not both")
    if decode_steps < 1:
        raise UserError(f"--decode-steps is {decode_steps}; give at least 1")
    if max_gb is not None and max_gb <= 0:
        raise UserError(f"--max-gb is {max_gb:g}; give a size above 0")
    wanted_layers = parse_layers(layers)
    task = None if prompt is None else parse_prompt(prompt)
    text = None if prompt_file is None else read_prompt(prompt_file)
    refuse_existing(out, overwrite=overwrite, marker=MANIFEST)

    from tracegen.capture.model import load
    from tracegen.capture.plan import Request
    from tracegen.capture.run import capture

    loaded = load(model, dtype=dtype, device=device)
    forced = decode_steps if teacher_forced else 0
    if task is not None:
        from tracegen.prompts.prompt import build

        name, n_tokens, seed = task
        _refuse_beyond_context(loaded, n_tokens, decode_steps)
        built = build(name, loaded.tokenizer, n_tokens + forced, seed)
        ids, text = list(built.token_ids), built.text
        description: dict[str, Any] = {"task": name, "seed": seed, "text": built.description}
    else:
        assert text is not None and prompt_file is not None
        ids = list(loaded.tokenizer(text)["input_ids"])
        description = {"file": prompt_file.name}
    description["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    if forced and len(ids) <= forced:
        raise UserError(
            f"--teacher-forced takes the last {forced} tokens of the text as decode steps and it "
            f"has {len(ids)}; give a longer text or fewer --decode-steps"
        )
    request = Request(
        prompt_ids=ids[: len(ids) - forced],
        decode_steps=decode_steps,
        description=description,
        layers=wanted_layers,
        forced_ids=ids[len(ids) - forced :] if forced else None,
        max_gb=max_gb,
    )
    return capture(loaded, request, out, overwrite=overwrite, announce=announce)


def parse_prompt(text: str) -> tuple[str, int, int]:
    """Read TASK[:tokens=4096,seed=0] into the task, its tokens and its seed.

    Raises:
        UserError: an unknown task or parameter, or a value that is no whole number.
    """
    from tracegen.prompts.prompt import TASKS

    name, _, rest = text.partition(":")
    if name not in TASKS:
        raise UserError(f"--prompt {text}: no task {name!r}; {nearest(name, TASKS)}")
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


def read_prompt(path: Path) -> str:
    """Read a prompt file.

    Raises:
        UserError: it cannot be read, is no text, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"--prompt-file {path}: {error.strerror}; give a text file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--prompt-file {path}: not UTF-8 text; give a text file") from error
    if not text.strip():
        raise UserError(f"--prompt-file {path}: the prompt is empty; give some text")
    return text


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
