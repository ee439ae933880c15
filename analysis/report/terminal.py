"""Print the overview in a terminal."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from analysis.report.changes_view import print_changes, write_changes
from analysis.report.columns import columns, csv_text, shown_settings
from analysis.report.latex import latex_table
from analysis.report.prompts_table import intervals, prompt_keys
from analysis.report.terminal_table import TextColumn, terminal_tables
from analysis.results.changes import changes
from analysis.results.prompts import METHOD, over_prompts
from analysis.results.summary import overview
from analysis.results.tables import Table
from pimreplay.results.reader import Results, open_results
from tracegen.base.folder import refuse_existing

UNBOUNDED = 160
"""Columns assumed where the output is not a terminal: a file or a pipe wraps nothing."""


def print_overview(table: Table, form: str = "table") -> None:
    """Print one row per configuration, over the layers that the policies decide.

    `form` is `table` for reading, `latex` for a paper, `csv` for a program.
    """
    sparse = table.narrowed(policy_layers=True)
    rows = overview(sparse)
    if form != "table":
        print(latex_table(rows) if form == "latex" else csv_text(rows), end="")
        return
    console = Console(width=_width(), highlight=False, markup=False)
    described = table.configurations
    traces = described.select("trace", "trace_kind", "model").unique(maintain_order=True)
    for trace, kind, model in traces.iter_rows():
        console.print(f"trace {trace} ({kind}, model {model})")
    for name in ("hardware", "budget"):
        values = described[name].unique(maintain_order=True).to_list()
        if len(values) == 1:
            console.print(f"{name} {values[0]}{_in_use(described) if name == 'hardware' else ''}")
    kept = set(table.rows["layer"].unique()) - set(sparse.rows["layer"].unique())
    if kept:
        listed = ", ".join(str(layer) for layer in sorted(kept))
        console.print(f"layers {listed} were kept dense by the run and are left out below")
    names = [*shown_settings(rows), "method"]
    keys = [TextColumn(name, [str(one) for one in rows[name]]) for name in names]
    values = [TextColumn(one.heading, one.texts) for one in columns(rows)]
    for part in terminal_tables(keys, values, console.width):
        console.print(part)
    means = over_prompts(sparse)
    if len(means):
        for part in terminal_tables(prompt_keys(means), intervals(means), console.width):
            console.print(part)
        console.print(f"In brackets: {METHOD}.")
    console.print(
        f"A decode step, {table.charge.words}: means over steps, amounts summed over KV heads and"
        " layers; latency is of the busiest channel, layer after layer; a dash is not known."
    )


def _in_use(described: pl.DataFrame) -> str:
    """Say how many channels the methods use, where all use as many."""
    found = described.select("channels", "device_channels").unique().drop_nulls()
    return ", {} of {} channels in use".format(*found.row(0)) if len(found) == 1 else ""


def print_comparison(
    folders: list[str], out: Path | None, overwrite: bool, different_traces: bool, cost: str | None
) -> None:
    """Print what changed from the first folder to the second, and write it where asked."""
    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    before, after = open_results(folders)
    print_warnings((before, after))
    found = changes(before, after, different_traces, cost)
    print_changes(found, Console(width=_width(), highlight=False, markup=False))
    if out is not None:
        write_changes(found, out, overwrite)
        print(f"wrote {out}")


def print_warnings(runs: Sequence[Results]) -> None:
    """Say on stderr what a reader should know before trusting the numbers."""
    for run in runs:
        for one in run.warnings:
            print(f"warning: {one}", file=sys.stderr)


def _width() -> int:
    console = Console()
    return shutil.get_terminal_size().columns if console.is_terminal else UNBOUNDED
