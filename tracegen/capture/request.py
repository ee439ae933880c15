"""What `tracegen capture` does: from the words of the command line to one trace, or to many."""

from collections.abc import Callable
from typing import Any

from tracegen.base.errors import UserError, printable
from tracegen.base.folder import refuse_existing
from tracegen.base.location import file_system
from tracegen.base.numbers import parse_ranges
from tracegen.capture.prompt_source import Source, Task, Words, prompt_of, sources
from tracegen.trace.schema import MANIFEST, MOST_LAYERS
from tracegen.trace.store import Trace


def capture_command(
    words: Words,
    *,
    model: str,
    decode_steps: int,
    layers: str,
    dtype: str,
    device: str,
    device_map: str | None,
    trust_remote_code: bool,
    teacher_forced: bool,
    max_gb: float | None,
    out: str,
    overwrite: bool,
    announce: Callable[[str], None],
) -> list[Trace]:
    """Do what `tracegen capture` was asked to, and return the traces.

    Everything that can be refused without the model is refused before it is loaded. Of many
    prompts each has a trace of its own in the folder `out`; those that are there already, of the
    same model, prompt and request, are kept.

    Raises:
        UserError: any of the words is wrong, or a capture is refused.
    """
    if decode_steps < 1:
        raise UserError(f"--decode-steps is {decode_steps}; give at least 1")
    if max_gb is not None and max_gb <= 0:
        raise UserError(f"--max-gb is {max_gb:g}; give a size above 0")
    wanted_layers = parse_layers(layers)
    asked = sources(words)
    many = words.prompts is not None
    if many:
        _refuse_trace(out)
    else:
        refuse_existing(out, overwrite=overwrite, marker=MANIFEST)

    from tracegen.capture.model import load
    from tracegen.capture.plan import Request
    from tracegen.capture.run import capture, captured_before

    loaded = load(
        model,
        dtype=dtype,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
    )
    forced = decode_steps if teacher_forced else 0
    traces = []
    for number, source in enumerate(asked, start=1):
        _refuse_beyond_context(loaded, source, decode_steps)
        prompt = prompt_of(source, loaded, forced, words.chat)
        ids = prompt.token_ids
        if forced and len(ids) <= forced:
            raise UserError(
                f"--teacher-forced takes the last {forced} tokens of the text as decode steps and "
                f"it has {len(ids)}; give a longer text or fewer --decode-steps"
            )
        request = Request(
            prompt_ids=ids[: len(ids) - forced],
            decode_steps=decode_steps,
            description=prompt.description,
            layers=wanted_layers,
            forced_ids=ids[len(ids) - forced :] if forced else None,
            max_gb=max_gb,
        )
        place = out
        if many:
            place = f"{out.rstrip('/')}/{source.name}"
            there = None if overwrite else captured_before(loaded, request, place)
            announce(f"{place}: prompt {number} of {len(asked)}" + (", is there" if there else ""))
            if there:
                traces.append(there)
                continue
        trace = capture(loaded, request, place, overwrite=overwrite, announce=announce)
        if not forced:
            announce(f"the model goes on: {_answer(trace, loaded)!r}")
            if prompt.answers:
                announce(printable(f"expected: {', '.join(prompt.answers)}"))
        traces.append(trace)
    return traces


def _refuse_trace(out: str) -> None:
    """Refuse a trace, or a file, where a folder of traces is to be."""
    system, inside = file_system(out)
    if system.get_file_info(f"{inside}/{MANIFEST}").type.name != "NotFound":
        raise UserError(f"{out}: is a trace, not a folder of traces; choose another --out")
    if system.get_file_info(inside).type.name == "File":
        raise UserError(f"{out}: exists and is a file; name a folder for --out")


def _answer(trace: Trace, loaded: Any) -> str:
    """Return what the model decoded, up to the end of its turn or text."""
    ids = trace.tokens()["token_id"].to_list()[trace.manifest.prompt_tokens :]
    ends = loaded.model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends])
    until = next((index for index, one in enumerate(ids) if one in stops), len(ids))
    return str(loaded.tokenizer.decode(ids[:until]))


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


def _refuse_beyond_context(loaded: Any, source: Source, decode_steps: int) -> None:
    """Refuse too long a task before its text is made."""
    context = loaded.context_tokens
    if not isinstance(source.given, Task) or context is None:
        return
    n_tokens = source.given.tokens
    if n_tokens + decode_steps > context:
        raise UserError(
            f"{n_tokens:,} prompt tokens and {decode_steps:,} decode steps are beyond the context "
            f"of {loaded.name}, {context:,} tokens; shorten the prompt or take fewer steps"
        )
