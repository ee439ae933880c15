"""The command `analysis accuracy`; merged into the `analysis` application."""

from typing import Annotated

import typer

from tracegen.base.command_line import CommandLine

app = CommandLine()


@app.command("accuracy")
def accuracy(
    policy: Annotated[
        list[str], typer.Option(help="NAME[:param=value,...]; give it several times.")
    ],
    task: Annotated[
        list[str],
        typer.Option(
            help="perplexity:path=TEXTS[,tokens=4096,steps=512,prompts=25], "
            "questions:path=FILE.jsonl[,prompts=25], or a kind of generated prompt: "
            "KIND[:tokens=4096,prompts=25,seed=0], e.g. niah_single_1:prompts=50."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder to make.")],
    budget: Annotated[
        list[str], typer.Option(help="Tokens (256) or a share of the context (10%).")
    ] = ["256"],  # noqa: B006 (typer copies it)
    model: Annotated[
        str,
        typer.Option(
            help="`reference`, `smollm2`, a GGUF file, a local folder or a Hugging Face id."
        ),
    ] = "reference",
    dense_layers: Annotated[
        int, typer.Option(min=0, help="First layers that read everything.")
    ] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16 or float32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
) -> None:
    """Measure a model with a policy inside: perplexity, task scores, distance from dense."""
    from analysis.accuracy.run import Request, run_accuracy

    request = Request(
        model,
        tuple(policy),
        tuple(budget),
        tuple(task),
        out,
        dense_layers,
        seed,
        dtype,
        device,
        overwrite,
    )
    measures, steps = run_accuracy(request, lambda line: typer.echo(line, err=json))
    if json:
        typer.echo(measures.write_json())
        return
    from analysis.accuracy.table import print_measures, print_positions

    print_measures(measures)
    print_positions(steps)
