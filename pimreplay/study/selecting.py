"""Write which tokens a policy selects to a file, for whoever wants to check it."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from pimreplay.replay.kv_head import selections
from pimreplay.replay.method import method
from pimreplay.replay.settings import Settings
from pimreplay.selection.budget_schedule import parse_budget
from tracegen.base.device import torch_device
from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing, write_file
from tracegen.base.numbers import chosen, write_ranges
from tracegen.trace.store import Trace


def write_selections(
    trace_path: str,
    policy: str,
    budget_text: str,
    layer_texts: Sequence[str] | None,
    out: Path,
    seed: int,
    device: str,
) -> str:
    """Write a policy's selection of every layer asked for to an .npz file.

    Raises:
        UserError: bad input; no file is written.
    """
    refuse_existing(out, advice="choose another --out")
    if "@" in policy:
        raise UserError(f"--policy {policy}: a selection has no layout; leave out what follows @")
    device = str(torch_device(device))
    budget = parse_budget(budget_text)
    selector = method(policy).selector
    trace = Trace.open(trace_path)
    budget.check(trace.manifest.tokens)
    known = trace.manifest.layers
    layers = chosen(layer_texts, known, "--layer") if layer_texts else known
    settings = Settings(seed=seed, device=device)
    found = selections(trace, layers, selector, budget, settings)
    arrays = {f"selected_layer_{layer}": found[layer] for layer in layers}
    if len(layers) == 1:
        arrays["selected"] = found[layers[0]]
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_file(out, content.getvalue())
    return f"wrote {out}: {policy} at budget {budget_text}, layers {write_ranges(layers)}"
