"""Show what changed between two runs: in the terminal, and as one HTML file."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from analysis.metrics import metric
from analysis.report import markup
from analysis.report.overview_table import SHORT, value_text
from analysis.results.changes import Changes
from tracegen.base.folder import refuse_existing, write_file

SHOWN = (
    "latency",
    "energy",
    "over_fetch",
    "row_activations",
    "balance_lanes",
    "attention_mass",
    "topk_overlap",
    "output_error",
    "overhead_latency",
)
"""Metrics whose change is shown."""

TERMINAL = ("latency", "energy", "over_fetch", "attention_mass", "topk_overlap", "output_error")
"""What of it fits in a terminal."""

SAME = 5e-5
"""Relative changes below it are shown as the same."""


def print_changes(found: Changes, console: Console) -> None:
    """Print the configuration differences, then every method with its changes."""
    console.print(f"A {found.before}\nB {found.after}\n", markup=False)
    if found.configuration:
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for heading in ("configuration", "A", "B"):
            table.add_column(heading, overflow="fold")
        for one in found.configuration:
            table.add_row(one.entry, _shown(one.before), _shown(one.after))
        console.print(table)
    else:
        console.print("The configurations are the same.", markup=False)
    names = [name for name in _known(found) if name in TERMINAL]
    table = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for key in _keys(found):
        table.add_column(key, no_wrap=key == "method")
    for name in names:
        table.add_column(SHORT[name], justify="right", no_wrap=True)
    for row in found.methods.iter_rows(named=True):
        cells = ["\n".join(_cell(row, name)) for name in names]
        table.add_row(*[str(row[key]) for key in _keys(found)], *cells)
    console.print(table)
    for line in _notes(found):
        console.print(line, markup=False)


def write_changes(found: Changes, out: Path, overwrite: bool) -> None:
    """Write the same as one self-contained HTML file.

    Raises:
        UserError: something is at `out` already, or its folder is missing.
    """
    refuse_existing(out, overwrite=overwrite)
    write_file(
        out,
        markup.page(
            "changes.html",
            title=f"What changed: {found.before} to {found.after}",
            configuration=_configuration_html(found),
            methods=_methods_html(found),
            notes=markup.paragraphs(_notes(found)),
        ),
    )


def _known(found: Changes) -> list[str]:
    rows = found.methods
    return [name for name in SHOWN if rows[f"{name}_b"].null_count() < len(rows)]


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


def _configuration_html(found: Changes) -> str:
    if not found.configuration:
        return "<p>The configurations are the same.</p>"
    return markup.table(
        [markup.heading(text) for text in ("Entry", "A", "B")],
        [
            markup.row(one.entry, _shown(one.before), _shown(one.after))
            for one in found.configuration
        ],
        "Entries of run.json that differ",
        wrapped=True,
    )


def _methods_html(found: Changes) -> str:
    names = _known(found)
    keys = _keys(found)
    heads = [markup.heading(key.capitalize()) for key in keys]
    heads += [markup.heading(SHORT[name], True) for name in names]
    rows = []
    for row in found.methods.iter_rows(named=True):
        cells = f"<th scope='row'>{html.escape(str(row['method']))}</th>"
        cells += "".join(f"<td>{html.escape(str(row[key]))}</td>" for key in keys[1:])
        for name in names:
            lines = "<br>".join(html.escape(line) for line in _cell(row, name))
            cells += f"<td class='number {_verdict(row, name)}'>{lines}</td>"
        rows.append(f"<tr>{cells}</tr>")
    return markup.table(heads, rows, "Every method in both runs, A \u2192 B", "overview")


def _verdict(row: dict[str, Any], name: str) -> str:
    change = row[f"{name}_change"]
    if change is None or abs(change) < SAME:
        return "same"
    return "better" if (change < 0) == (metric(name).better == "lower") else "worse"
