"""Capture from a notebook or a script: a model that is there, a prompt as text or tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracegen.base.errors import UserError
from tracegen.capture.model import LoadedModel, load
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.prompts import frame
from tracegen.trace.store import Trace


def capture_model(
    model: Any,
    prompt: str | Sequence[int],
    *,
    out: str | Path,
    tokenizer: Any = None,
    name: str | None = None,
    decode_steps: int = 128,
    layers: Sequence[int] | None = None,
    overwrite: bool = False,
) -> Trace:
    """Run a model over a prompt and write what its attention read as a trace.

    Args:
        model: A decoder of `transformers` on its device, or what `tracegen capture --model` takes.
        prompt: Text, or token ids.
        out: Folder or URL of the trace to make.
        tokenizer: Of a model that is given as an object; without one the prompt is token ids, and
            the trace holds no texts.
        name: What results call the model; None: its class.
        decode_steps: Tokens to decode, greedily.
        layers: Layers to keep; None: all.
        overwrite: Replace a trace that is there.

    Raises:
        UserError: the model cannot be captured, or the request cannot be met.
    """
    if isinstance(model, str):
        loaded = load(model)
    else:
        loaded = LoadedModel(name or type(model).__name__, model.eval(), tokenizer)
    if isinstance(prompt, str):
        if loaded.tokenizer is None:
            raise UserError("a prompt of text needs the tokenizer; give it, or give token ids")
        ids = frame.plain(loaded.tokenizer).around(frame.text_ids(loaded.tokenizer, prompt))
    else:
        ids = [int(one) for one in prompt]
    request = Request(ids, decode_steps, layers=layers)
    return capture(loaded, request, out, overwrite=overwrite)
