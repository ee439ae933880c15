"""The command `analysis reproduce-starc`; merged into the `analysis` application."""

from pathlib import Path
from typing import Annotated

import typer

from tracegen.base.command_line import CommandLine

app = CommandLine()


@app.command("reproduce-starc")
def reproduce_starc(
    row_tokens: Annotated[
        Path,
        typer.Option(
            help="Folder of the artefact's tables: <model>_<method>.txt[.gz] or"
            " kv_budget_<model>_<method>.txt[.gz]."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("starc.html"),
    csv: Annotated[
        Path | None, typer.Option(help="Write every step of every table here too, as CSV.")
    ] = None,
    hardware: Annotated[
        str, typer.Option(help="Name of a bank-level device, or a .toml file.")
    ] = "attacc_hbm3_bank",
    batch: Annotated[int, typer.Option(min=1, help="Requests decoded together.")] = 16,
    prompt_tokens: Annotated[
        int, typer.Option(min=0, help="Tokens in the cache before the first step.")
    ] = 2048,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace what exists.")
    ] = False,
) -> None:
    """Replay STARC's published per-step tables beside the paper's claims."""
    from analysis.starc.run import Request, reproduce

    request = Request(row_tokens, out, csv, hardware, batch, prompt_tokens, overwrite)
    for line in reproduce(request):
        typer.echo(line)
