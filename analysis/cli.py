"""The `analysis` command: reports, comparisons and the dashboard of results folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.tables import Table

app = typer.Typer(
    help="Turn results of `pimreplay` into tables, figures, reports and a dashboard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def report(
    results: Annotated[list[str], typer.Argument(help="One or several results folders.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
) -> None:
    """Write one self-contained HTML file: summary, figures, table, assumptions."""
    from analysis.report import refuse_existing, write_report

    refuse_existing(out, overwrite)
    write_report(_table(results), out, overwrite)
    typer.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


@app.command()
def compare(
    results: Annotated[list[str], typer.Argument(help="A results folder, or two to compare.")],
) -> None:
    """Print the methods of one results folder, against dense and token-wise."""
    from analysis.terminal import print_overview

    print_overview(_table(results))


def _table(results: list[str]) -> "Table":
    from analysis.runs import open_runs
    from analysis.tidying import tidy

    return tidy(open_runs(results))
