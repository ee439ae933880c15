"""The commands that make and measure the reference model; `tracegen.cli` adds them to its own.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracegen.base.command_line import CommandLine
from tracegen.base.errors import UserError, nearest

app = CommandLine()


class Device(StrEnum):
    """Where training runs."""

    cpu = "cpu"
    cuda = "cuda"


@app.command("train-reference")
def train_reference(
    corpus: Annotated[Path, typer.Option(help="Folder of .txt files in UTF-8 to train on.")],
    out: Annotated[Path, typer.Option(help="Folder to write the finished model to.")],
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Training time; the schedule is a share of it.")
    ] = 90.0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.cpu,
    size: Annotated[str, typer.Option(help="Shape of the model: small, medium or tiny.")] = "small",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the sequences.")] = 0,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that share each step; 0: one a core, or one GPU.")
    ] = 0,
    start_from: Annotated[
        list[Path],
        typer.Option(
            help="Folder of a finished model of this size to train further; "
            "given again: the mean of their weights."
        ),
    ] = [],  # noqa: B006 - typer wants a list
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Fuse operations with torch.compile.")
    ] = True,
) -> None:
    """Train a small language model with retrieval heads; the same command goes on after a stop."""
    from dataclasses import replace

    import torch

    from tracegen.reference_model.recipe import SIZES
    from tracegen.reference_model.training import Job, train

    if size not in SIZES:
        raise UserError(f"--size {size}: unknown; {nearest(size, SIZES)}")
    if device is Device.cuda and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu")
    n_workers = workers or (os.cpu_count() or 1 if device is Device.cpu else 1)
    work = out.with_name(f"{out.name}.training")
    recipe = replace(SIZES[size], seed=seed)
    job = Job(work, recipe, 60 * minutes, device.value, n_workers, compiled, tuple(start_from))
    train(corpus, out, job)
    print(f"wrote {out}; its checkpoints are in {work}")


@app.command("evaluate-reference")
def evaluate_reference(
    model: Annotated[
        str, typer.Option(help="`reference`, a folder, or a Hugging Face id.")
    ] = "reference",
    text: Annotated[
        Path | None,
        typer.Option(help="Folder of .txt files: haystacks, and the text whose perplexity counts."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples a task and length.")] = 50,
    windows: Annotated[int, typer.Option(min=1, help="Windows of text a perplexity.")] = 24,
    max_tokens: Annotated[int, typer.Option(min=256, help="Leave out longer contexts.")] = 8192,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure perplexity by context length, and retrieval on sentences that training never saw."""
    from rich.progress import Progress

    from tracegen.capture.model import load
    from tracegen.reference_model import evaluation

    loaded = load(model, dtype="float32" if device in ("auto", "cpu") else "auto", device=device)
    limit = min(max_tokens, loaded.context_tokens or max_tokens)
    with Progress(transient=True, disable=as_json) as bar:
        shown = bar.add_task(model)
        figures = evaluation.evaluate(
            loaded,
            text,
            samples,
            windows,
            limit,
            seed,
            lambda done, total: bar.update(shown, completed=done, total=total),
        )
    print(json.dumps(figures.as_json(), indent=2) if as_json else figures.as_text())
