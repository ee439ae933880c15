"""Run a model over a prompt and some decode steps, and write what its attention read as a trace."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError
from tracegen.base.folder import NEW_NAME, refuse_existing
from tracegen.base.location import file_system
from tracegen.base.space import free_bytes, in_words
from tracegen.capture.dtype import DTYPES
from tracegen.capture.generation import generate
from tracegen.capture.model import LoadedModel
from tracegen.capture.plan import Request, plan
from tracegen.capture.recording import recording
from tracegen.capture.spill import Spill, scratch_bytes
from tracegen.trace.rotary import switch_tokens
from tracegen.trace.schema import MANIFEST, Manifest, estimate_bytes
from tracegen.trace.store import Trace
from tracegen.trace.writer import TraceWriter

GB = 1e9


def capture(
    loaded: LoadedModel,
    request: Request,
    out: str | Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> Trace:
    """Capture a trace into the folder or URL `out`.

    Args:
        loaded: the model.
        request: prompt, number of steps and limits.
        out: folder to make; it appears only when complete.
        overwrite: replace a trace that is already there.
        announce: called with one line about the size before the model runs.

    Raises:
        UserError: the request cannot be met (empty or too long a prompt, a model that cannot be
            captured, a trace above the limit, a folder that exists).
    """
    refuse_existing(out, overwrite=overwrite, marker=MANIFEST)
    _refuse_impossible(loaded, request)
    manifest = plan(loaded, request)
    switch = switch_tokens(manifest.rope, manifest.prompt_tokens, manifest.tokens)
    if switch is not None:
        raise UserError(
            f"{loaded.name}: its rotary embedding changes at {switch:,} tokens, between the prompt "
            f"of {manifest.prompt_tokens:,} and its {manifest.tokens:,} tokens at the end; give a "
            "longer prompt or fewer steps"
        )
    _refuse_too_large(manifest, request, out, announce)
    with ThreadPoolExecutor(max_workers=1) as beside:
        # a large model's weights are hashed while it runs, in time that would be waited for
        hashing = beside.submit(lambda: loaded.sha256)
        with TraceWriter(out, manifest, overwrite=overwrite) as writer:
            token_ids, log_probs = _record(loaded, request, writer)
            n_prompt = len(request.prompt_ids)
            writer.write_tokens(
                token_id=token_ids,
                text=_texts(loaded.tokenizer, token_ids),
                log_prob=[*[None] * n_prompt, *log_probs],
            )
            writer.manifest = replace(writer.manifest, model_sha256=hashing.result())
    return Trace.open(out)


SAME = {
    **dict.fromkeys(("kind", "model", "architecture", "layers", "prompt"), ""),
    "quantized": "file of weights",
    "dtype": "type of numbers",
    "compute_dtype": "type to compute in",
    "prompt_tokens": "number of prompt tokens",
    "decode_steps": "number of decode steps",
    "teacher_forced": "choice of --teacher-forced",
}
"""What a trace shares with the plan of its capture; words where a field's name is none."""


def captured_before(loaded: LoadedModel, request: Request, place: str | Path) -> Trace | None:
    """Return the trace that an earlier run made for this request, None where nothing is there.

    Raises:
        UserError: what is there was captured from another model, prompt or request.
    """
    system, inside = file_system(place)
    if system.get_file_info(inside).type.name == "NotFound":
        return None
    found, wanted = Trace.open(place), plan(loaded, request)
    differs = [
        f"another {words or name}"
        for name, words in SAME.items()
        if getattr(found.manifest, name) != getattr(wanted, name)
    ]
    if not differs and found.manifest.model_sha256 != loaded.sha256:
        differs = ["other weights"]
    if differs:
        raise UserError(
            f"{place}: was captured with {differs[0]}, nothing was overwritten; {NEW_NAME}"
        )
    return found


def _record(
    loaded: LoadedModel, request: Request, writer: TraceWriter
) -> tuple[list[int], list[float]]:
    """Run the model, write its layers; return the token ids and what `generate` says of them."""
    spill = Spill(writer)
    try:
        with recording(loaded.model, spill, DTYPES[writer.manifest.dtype]):
            return generate(
                loaded.model, request.prompt_ids, request.decode_steps, request.forced_ids
            )
    finally:
        spill.close()


def _refuse_too_large(
    manifest: Manifest, request: Request, out: str | Path, announce: Callable[[str], None]
) -> None:
    """Announce the size of the trace; refuse one above the limit or the disk."""
    size = estimate_bytes(manifest)
    announce(
        f"{len(manifest.layers)} layers x {manifest.tokens:,} tokens of {manifest.model}: "
        f"about {in_words(size)}, in {_types(manifest)}"
    )
    if request.max_gb is not None and size > request.max_gb * GB:
        raise UserError(
            f"the trace would take about {in_words(size)} and --max-gb allows "
            f"{in_words(request.max_gb * GB)}; raise it, or ask for fewer tokens, steps or --layers"
        )
    free, needed = free_bytes(out), size + scratch_bytes(manifest)
    if free is not None and needed > free:
        raise UserError(
            f"{out}: about {in_words(needed)} are needed while the trace is made and "
            f"{in_words(free)} are free; free space or choose another folder"
        )


def _types(manifest: Manifest) -> str:
    computed = manifest.compute_dtype
    return manifest.dtype + ("" if computed is None else f" computed in {computed}")


def _refuse_impossible(loaded: LoadedModel, request: Request) -> None:
    n_prompt = len(request.prompt_ids)
    if n_prompt == 0:
        raise UserError("the prompt is empty; give at least one token of text")
    if request.decode_steps < 1:
        raise UserError(f"--decode-steps is {request.decode_steps}; give at least 1")
    context = loaded.context_tokens
    if context is not None and n_prompt + request.decode_steps > context:
        raise UserError(
            f"{n_prompt:,} prompt tokens and {request.decode_steps:,} decode steps are beyond the "
            f"context of {loaded.name}, {context:,} tokens; shorten the prompt or take fewer steps"
        )


def _texts(tokenizer: Any, token_ids: Sequence[int]) -> list[str | None]:
    """Return the text of each token, as it stands after another one.

    Decoders of the SentencePiece kind strip the space from a text's first token.
    """
    if tokenizer is None:
        return [None] * len(token_ids)
    before = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    shown = len(_decode(tokenizer, before))
    text = {one: _decode(tokenizer, [*before, one])[shown:] for one in set(token_ids)}
    return [text[one] for one in token_ids]


def _decode(tokenizer: Any, token_ids: list[int]) -> str:
    return str(tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
