"""Show what changed between two runs: in the terminal, and as one HTML file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from analysis.metrics import metric, whole_metrics
from analysis.report.columns import kinds, value_text
from analysis.report.terminal_table import TextColumn, terminal_tables
from analysis.report.web import Cell, Head, WebTable, page, text_table
from analysis.results.changes import Changes
from tracegen.base.folder import refuse_existing, write_file

SAME = 5e-5
"""Relative changes below it are shown as the same."""


def print_changes(found: Changes, console: Console) -> None:
    """Print the configuration differences, then every method with its changes."""
    console.print(f"A {found.before}\nB {found.after}\n")
    if found.configuration:
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for heading in ("configuration", "A", "B"):
            table.add_column(heading, overflow="fold")
        for one in found.configuration:
            table.add_row(one.entry, _shown(one.before), _shown(one.after))
        console.print(table)
    else:
        console.print("The configurations are the same.")
    keys = [TextColumn(key, [str(one) for one in found.methods[key]]) for key in _keys(found)]
    values = [
        TextColumn(kinds()[name].heading, ["\n".join(_cell(row, name)) for row in rows])
        for rows in [found.methods.to_dicts()]
        for name in _known(found)
    ]
    for part in terminal_tables(keys, values, console.width):
        console.print(part)
    for line in _notes(found):
        console.print(line)


def write_changes(found: Changes, out: Path, overwrite: bool) -> None:
    """Write the same as one self-contained HTML file.

    Raises:
        UserError: something is at `out` already, or its folder is missing.
    """
    refuse_existing(out, overwrite=overwrite)
    text = page(
        "changes.html",
        title=f"What changed: {found.before} to {found.after}",
        subtitle="",
        configuration=text_table(
            "Entries of run.json that differ",
            ("Entry", "A", "B"),
            [(one.entry, _shown(one.before), _shown(one.after)) for one in found.configuration],
        ),
        methods=_methods(found),
        notes=list(_notes(found)),
    )
    write_file(out, text)


def _known(found: Changes) -> list[str]:
    rows = found.methods
    return [name for name in whole_metrics() if rows[f"{name}_b"].null_count() < len(rows)]


def _keys(found: Changes) -> list[str]:
    varying = [key for key in ("trace", "hardware", "budget") if found.methods[key].n_unique() > 1]
    return ["method", *varying]


def _cell(row: dict[str, Any], name: str) -> Iterator[str]:
    before, after = row[f"{name}_a"], row[f"{name}_b"]
    yield f"{value_text(name, before)} \u2192 {value_text(name, after)}"
    change = row[f"{name}_change"]
    if change is not None:
        yield change_text(change)
    elif before is not None and before == after:
        yield "same"


def change_text(change: float) -> str:
    """Return a relative change in percent, or that there is none."""
    return "same" if abs(change) < SAME else f"{100 * change:+.1f} %"


def _shown(value: str | None) -> str:
    return "\u2013" if value is None else value


def _notes(found: Changes) -> Iterator[str]:
    if found.relaxed:
        yield (
            "Methods are matched although these differ, one value in each run:"
            f" {', '.join(found.relaxed)}."
        )
    for only, side in ((found.only_before, "A"), (found.only_after, "B")):
        for name in only:
            yield f"Only in {side}: {name}."
    yield "Over the layers that the policies decide; a change is B against A."


def _methods(found: Changes) -> WebTable:
    names, keys = _known(found), _keys(found)
    rows = []
    for row in found.methods.iter_rows(named=True):
        cells = [Cell(str(row[key])) for key in keys]
        for name in names:
            change = row[f"{name}_change"]
            text = "\n".join(_cell(row, name))
            cells.append(Cell(text, number=True, value=change, kind=_verdict(row, name)))
        rows.append(cells)
    heads = [Head(key.capitalize()) for key in keys]
    heads += [Head(kinds()[name].heading, True) for name in names]
    return WebTable("Every method in both runs, A \u2192 B", heads, rows, "overview")


def _verdict(row: dict[str, Any], name: str) -> str:
    change = row[f"{name}_change"]
    if change is None or abs(change) < SAME:
        return "same"
    return "better" if (change < 0) == (metric(name).better == "lower") else "worse"
