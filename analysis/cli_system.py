"""The command `analysis system`; merged into the `analysis` application."""

from pathlib import Path
from typing import Annotated

import typer

from tracegen.base.command_line import CommandLine

app = CommandLine()


@app.command("system")
def system_command(
    model: Annotated[str, typer.Option(help="Name of a model, for example LLAMA-7B.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("system.html"),
    gpu: Annotated[str, typer.Option(help="A100a or H100.")] = "H100",
    pim: Annotated[str, typer.Option(help="Where the MAC units are: bank, bg, buffer.")] = "bank",
    batch: Annotated[int, typer.Option(min=1, help="Sequences decoded together.")] = 16,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 2048,
    output_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens generated for each sequence.")
    ] = 16_000,
    results: Annotated[
        str | None, typer.Option(help="Results folder of a replay, for its policies.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Policy of the results, NAME[:param=value,...][@LAYOUT]; may be given several"
            " times."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace what exists.")
    ] = False,
) -> None:
    """Draw tokens per second and energy per token of whole systems, and what limits them."""
    from analysis.system.page import system_html
    from analysis.system.points import Question, compute
    from tracegen.base.folder import refuse_existing, write_file
    from tracegen.base.space import in_words

    refuse_existing(out, overwrite=overwrite)
    question = Question(
        model, gpu, pim, batch, prompt_tokens, output_tokens, results, tuple(policy or ())
    )
    write_file(out, system_html(compute(question)))
    typer.echo(f"wrote {out} ({in_words(out.stat().st_size)})")
