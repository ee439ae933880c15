"""The `analysis` command: reports, comparisons and the dashboard of results folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_accuracy import app as accuracy_app
from analysis.cli_starc import app as starc_app
from analysis.cli_system import app as system_app
from tracegen.base.command_line import CommandLine

if TYPE_CHECKING:
    from analysis.results.tables import Table

Cost = Annotated[
    str | None,
    typer.Option(
        help="What latency and energy contain: attention, scoring (too), or all, which is usual."
    ),
]

app = CommandLine("Turn results of `pimreplay` into tables, figures, reports and a dashboard.")
app.add_typer(starc_app)
app.add_typer(system_app)
app.add_typer(accuracy_app)


@app.command()
def report(
    results: Annotated[list[str], typer.Argument(help="One or several results folders.")],
    out: Annotated[
        Path, typer.Option(help="The HTML file; or, with --format, a folder for figures only.")
    ] = Path("report.html"),
    form: Annotated[
        str | None,
        typer.Option("--format", help="Export every figure too: png, svg or pdf."),
    ] = None,
    latex: Annotated[bool, typer.Option(help="Write the table as LaTeX beside it too.")] = False,
    accuracy: Annotated[
        str | None,
        typer.Option(help="An accuracy folder of the same model, for accuracy against cost."),
    ] = None,
    cost: Cost = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace what exists.")
    ] = False,
) -> None:
    """Write one self-contained HTML file: summary, figures, table, assumptions."""
    from analysis.report.export import check_export
    from analysis.report.outputs import Outputs, write_all

    if form is not None:
        check_export(form)
    outputs = Outputs.planned(out, form, latex)
    outputs.refuse_existing(overwrite)
    for line in write_all(_table(results, cost, accuracy), outputs, overwrite):
        typer.echo(line)


@app.command()
def compare(
    results: Annotated[list[str], typer.Argument(help="One results folder, or two: A B.")],
    out: Annotated[
        Path | None, typer.Option(help="With A B: write the comparison as HTML too.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace the file if it exists.")
    ] = False,
    different_traces: Annotated[
        bool, typer.Option("--different-traces", help="Compare runs of different traces too.")
    ] = False,
    cost: Cost = None,
    latex: Annotated[bool, typer.Option(help="Print a LaTeX table instead.")] = False,
    csv: Annotated[bool, typer.Option(help="Print the whole table as CSV instead.")] = False,
) -> None:
    """Print the methods of one results folder, or what changed from A to B."""
    from analysis.report.terminal import print_comparison, print_overview
    from tracegen.base.errors import UserError

    if len(results) > 2:
        raise UserError(
            f"{len(results)} results folders were given; compare takes one (its methods) or two"
            " (A B: what changed)"
        )
    if len(results) == 2:
        if latex or csv:
            raise UserError("--latex and --csv print one results folder; name one")
        print_comparison(results, out, overwrite, different_traces, cost)
        return
    if out is not None:
        raise UserError("--out is for two results folders; for one use `analysis report`")
    print_overview(_table(results, cost), "latex" if latex else "csv" if csv else "table")


@app.command()
def dashboard(
    results: Annotated[list[str], typer.Argument(help="One or several results folders.")],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8050,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default serves this machine only.")
    ] = "127.0.0.1",
    accuracy: Annotated[
        str | None,
        typer.Option(help="An accuracy folder of the same model, for accuracy against cost."),
    ] = None,
) -> None:
    """Serve an interactive view of results: filters, every figure, a step inspector."""
    from tracegen.base.errors import UserError

    try:
        from analysis.dashboard.serving import serve
    except ImportError as error:
        raise UserError(
            f"the dashboard needs the package {error.name}; install it with"
            " `pip install pimreplay[dashboard]`"
        ) from error
    serve(results, host, port, accuracy)


def _table(results: list[str], cost: str | None, accuracy: str | None = None) -> "Table":
    from analysis.report.terminal import print_warnings
    from analysis.results.tidying import tidy
    from pimreplay.results.reader import open_results

    runs = open_results(results)
    print_warnings(runs)
    table = tidy(runs).charging(cost)
    if accuracy is None:
        return table
    from analysis.results.accuracy import beside, read_accuracy

    return beside(table, read_accuracy(accuracy))
