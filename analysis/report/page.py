"""One self-contained HTML file of a results folder: words, figures, table, assumptions."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analysis.figures import figures
from analysis.metrics import metrics
from analysis.report.columns import columns, csv_text, shown_settings
from analysis.report.export import export_figures
from analysis.report.latex import latex_table
from analysis.report.prompts_table import prompts_table
from analysis.report.web import (
    Cell,
    Head,
    Place,
    WebTable,
    embedded,
    page,
    plotly_script,
    text_table,
)
from analysis.results.hardware import assumed_of
from analysis.results.prompts import METHOD, over_prompts
from analysis.results.reading_order import in_order
from analysis.results.summary import Setting, at, overview, settings, words
from analysis.results.tables import Table
from pimreplay.results.reader import Results
from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing, write_file
from tracegen.base.space import in_words

FIGURE_BYTES = 1_200_000
"""Most bytes of figures; settings beyond it are left out of the menu and named."""

TABLE_ROWS = 500
"""Most rows of the table in the page; what is left out is counted."""

CSV_ROWS = 2_000
"""Most rows of the CSV inside the page; `analysis compare --csv` prints all."""

RUNS = 20
"""Most runs whose whole configuration is in the page."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that one call writes; None: not this one."""

    html: Path | None
    latex: Path | None
    figures: Path | None
    """A folder."""
    form: str | None
    """Format of the figures."""

    @classmethod
    def planned(cls, out: Path, form: str | None, latex: bool) -> "Outputs":
        """Derive every path from `--out`: an HTML file, or a folder for figures only."""
        is_page = form is None or out.suffix in (".html", ".htm")
        folder = out.with_name(f"{out.stem}_figures") if is_page else out
        return cls(
            html=out if is_page else None,
            latex=out.with_suffix(".tex") if latex else None,
            figures=folder if form else None,
            form=form,
        )

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise `UserError` when something would be lost."""
        for path in (self.html, self.latex):
            if path is not None:
                refuse_existing(path, overwrite=overwrite)
        if self.figures is not None and self.figures.exists():
            if not self.figures.is_dir():
                raise UserError(f"{self.figures}: is a file; figures go into a folder")
            if any(self.figures.iterdir()) and not overwrite:
                raise UserError(
                    f"{self.figures}: holds files already; choose another --out, or give"
                    " --overwrite"
                )


def write_all(table: Table, outputs: Outputs, overwrite: bool) -> Iterator[str]:
    """Write what was asked for; yield one line a file or folder when it is complete.

    Raises:
        UserError: something is in the way.
    """
    if outputs.html is not None:
        refuse_existing(outputs.html, overwrite=overwrite)
        write_file(outputs.html, report_html(table))
        yield f"wrote {outputs.html} ({in_words(outputs.html.stat().st_size)})"
    if outputs.latex is not None:
        refuse_existing(outputs.latex, overwrite=overwrite)
        write_file(outputs.latex, latex_table(overview(table.narrowed(policy_layers=True))))
        yield f"wrote {outputs.latex}"
    if outputs.figures is not None and outputs.form is not None:
        paths = export_figures(table, outputs.figures, outputs.form)
        yield f"wrote {outputs.figures} ({len(paths)} figures, {outputs.form})"


def report_html(table: Table) -> str:
    """Return the report as one HTML text that needs nothing outside itself."""
    found = settings(table)
    drawn = _drawn(table, found)
    shown = [one for one in found if one.label() in drawn]
    rows = overview(table.narrowed(policy_layers=True))
    means = over_prompts(table.narrowed(policy_layers=True))
    return page(
        "report.html",
        title=f"PIM replay report: {', '.join(run.name for run in table.runs)}",
        plotly=plotly_script(),
        subtitle=_subtitle(table.runs),
        synthetic=sorted(table.configurations.filter(trace_kind="synthetic")["trace"].unique()),
        shown=shown,
        left_out=len(found) - len(shown),
        words=[words(table, one) for one in shown],
        table=overview_table(rows.head(TABLE_ROWS)),
        table_note=_table_note(len(rows)),
        prompts=prompts_table(means) if len(means) else None,
        prompts_note=f"In brackets: {METHOD}.",
        figures=_places(drawn[shown[0].label()]),
        configuration=_configuration(table),
        run_files=_run_files(table.runs),
        notes=_notes(table),
        assumed=assumed_of(table.runs),
        definitions=_definitions(),
        data=embedded(
            {
                "settings": [drawn[one.label()] for one in shown],
                "csv": csv_text(rows.head(CSV_ROWS)),
            }
        ),
    )


def overview_table(rows: pl.DataFrame) -> WebTable:
    """Return the overview as a table whose headings are buttons that sort."""
    names = ["method", *shown_settings(rows)]
    shown = list(columns(rows))
    keys = [[Cell(str(value)) for value in rows[name]] for name in names]
    cells = [
        [Cell(text, number=True, value=value) for text, value in zip(*both, strict=True)]
        for both in ((column.texts, column.values) for column in shown)
    ]
    return WebTable(
        "Every method, over the layers that the policies decide",
        [*(Head(name.capitalize()) for name in names), *(Head(one.heading, True) for one in shown)],
        list(zip(*keys, *cells, strict=True)),
        "overview",
        sorts=True,
    )


def _drawn(table: Table, found: Sequence[Setting]) -> dict[str, dict[str, Any]]:
    """Draw every figure for as many settings as fit."""
    sparse = table.narrowed(policy_layers=True)
    drawn: dict[str, dict[str, Any]] = {}
    size = 0
    for setting in found:
        own: dict[str, Any] = {}
        for name, figure in figures().items():
            drawing = figure.draw(at(sparse, setting, figure.scope))
            if drawing is not None:
                own[name] = drawing.still().plain()
        size += len(json.dumps(own))
        if drawn and size > FIGURE_BYTES:
            break
        drawn[setting.label()] = own
    return drawn


def _places(drawn: dict[str, Any]) -> dict[str, list[Place]]:
    """Return the places that the script draws into, by group."""
    groups: dict[str, list[Place]] = {}
    for name, figure in figures().items():
        if name in drawn:
            groups.setdefault(figure.group, []).append(Place(name, figure.title, figure.caption))
    return groups


def _subtitle(runs: Sequence[Results]) -> str:
    versions = {str(run.config.get("versions", {}).get("pimreplay", "?")) for run in runs}
    names = ", ".join(run.name for run in runs)
    return f"Results: {names}. Made with pimreplay {', '.join(sorted(versions))}."


def _table_note(rows: int) -> str:
    left_out = ""
    if rows > TABLE_ROWS:
        in_csv = "all" if rows <= CSV_ROWS else f"{CSV_ROWS}"
        left_out = (
            f" The table shows {TABLE_ROWS} of {rows} rows, its CSV {in_csv};"
            " `analysis compare --csv` prints all."
        )
    return (
        "Means over decode steps, summed over KV heads and layers where they are amounts, over the"
        " layers that the policies decide: layers that the run kept dense are left out here, for"
        " the dense baseline too. A dash is a value that is not known." + left_out
    )


def _run_files(runs: Sequence[Results]) -> dict[str, str]:
    """Return the text of each `run.json` by the run's name, its hardware left out."""
    shown = {
        run.name: {key: value for key, value in run.config.items() if key != "hardware"}
        for run in runs[:RUNS]
    }
    return {name: json.dumps(one, indent=2, ensure_ascii=False) for name, one in shown.items()}


def _configuration(table: Table) -> dict[str, str]:
    described = table.configurations
    return {
        "Traces": _listed(described, "trace"),
        "Models": _listed(described, "model"),
        "Kind of trace": _listed(described, "trace_kind"),
        "Hardware": _listed(described, "hardware"),
        "Budgets": _listed(described.sort("budget_tokens"), "budget"),
        "Methods": _listed(in_order(described), "method"),
        "Decode steps": str(int(table.rows["steps"].sum() / max(1, _groups(table.rows)))),
        "Layers kept dense": _kept_dense(table),
        "Fidelity": ", ".join(
            sorted({str(run.config.get("configuration", {}).get("fidelity")) for run in table.runs})
        ),
    }


def _groups(rows: pl.DataFrame) -> int:
    return rows.select("configuration", "layer", "kv_head").n_unique()


def _listed(described: pl.DataFrame, column: str, most: int = 20) -> str:
    values = described[column].unique(maintain_order=True).to_list()
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(value) for value in values[:most]) + more


def _kept_dense(table: Table) -> str:
    everywhere = set(table.rows["layer"].unique())
    decided = set(table.narrowed(policy_layers=True).rows["layer"].unique())
    return ", ".join(str(layer) for layer in sorted(everywhere - decided)) or "none"


def _notes(table: Table) -> list[str]:
    """Return what was assumed of the runs, and what is not known."""
    kept = _kept_dense(table)
    notes = [str(one) for run in table.runs for one in run.config.get("assumptions", [])]
    notes += [one for run in table.runs for one in run.warnings]
    notes += unknown_metrics(table)
    notes += failed_points(table.runs)
    if kept != "none":
        notes.append(f"Layers {kept} read every token under every method, as the run asked.")
    notes.append(
        "A layer ends with its busiest channel; layers follow one another; only attention is"
        " timed, projections and feed-forward layers are not."
    )
    return list(dict.fromkeys(notes))


def unknown_metrics(table: Table) -> list[str]:
    """Name the metrics that are not known for every configuration."""
    measured = table.measured()
    unknown = [
        one.title for name, one in metrics().items() if measured[name].null_count() == len(measured)
    ]
    return [f"Not known in these results: {', '.join(unknown)}."] if unknown else []


def failed_points(runs: Sequence[Results]) -> list[str]:
    """Name the points of a sweep that failed."""
    notes = []
    for run in runs:
        failed = run.tables["points"].filter(pl.col("status") == "failed").collect()
        notes += [
            f"Failed point {row['point']}: {row['error']}" for row in failed.iter_rows(named=True)
        ]
    return notes


def _definitions() -> WebTable:
    return text_table(
        "What each quantity means",
        ("Quantity", "Unit", "Better", "Definition"),
        [(one.title, one.unit, one.better, one.source) for one in metrics().values()],
    )
