"""One self-contained HTML file of a results folder: words, figures, table, assumptions."""

import json
from collections.abc import Sequence

import polars as pl

from analysis.figures import figures
from analysis.metrics import metrics
from analysis.report.columns import csv_text
from analysis.report.drawn import Drawn, draw_settings
from analysis.report.overview_table import overview_table
from analysis.report.prompts_table import prompts_table
from analysis.report.web import Place, WebTable, embedded, page, plotly_script, text_table
from analysis.results.charge import CHARGES
from analysis.results.hardware import assumed_of
from analysis.results.methods import in_order
from analysis.results.prompts import METHOD, over_prompts
from analysis.results.summary import overview, settings
from analysis.results.tables import Table
from analysis.results.words import words
from pimreplay.results.reader import Results

FIGURE_BYTES = 2_400_000
"""Most bytes of figures; settings beyond it are left out of the menu and named."""

FIRST = "At equal recall"
"""Group of figures that comes before the table."""

TABLE_ROWS = 300
"""Most rows of the table in the page; what is left out is counted."""

CSV_ROWS = 400
"""Most rows of the CSV inside the page, of each charge; `analysis compare --csv` prints all."""

SETTINGS = 12
"""Most settings that are drawn: each takes seconds."""

RUNS = 20
"""Most runs whose whole configuration is in the page."""


def report_html(table: Table) -> str:
    """Return the report as one HTML text that needs nothing outside itself.

    `table.charged` is what latency and energy contain at first; the page has a switch.
    """
    found = settings(table)
    drawn = draw_settings(table, found[:SETTINGS], FIGURE_BYTES)
    shown = found[: len(drawn.settings)]
    sparse = table.narrowed(policy_layers=True)
    rows = {name: overview(sparse.charging(name)) for name in CHARGES}
    count = len(rows[table.charged])
    means = over_prompts(sparse)
    groups = _places(drawn)
    return page(
        "report.html",
        title=f"PIM replay report: {', '.join(run.name for run in table.runs)}",
        plotly=plotly_script(),
        subtitle=_subtitle(table.runs),
        synthetic=sorted(table.configurations.filter(trace_kind="synthetic")["trace"].unique()),
        shown=shown,
        left_out=len(found) - len(shown),
        charges=CHARGES,
        charged=table.charged,
        words=[
            (place, name, words(table.charging(name), one))
            for place, one in enumerate(shown)
            for name in CHARGES
        ],
        table=overview_table({name: one.head(TABLE_ROWS) for name, one in rows.items()}),
        table_note=_table_note(count),
        prompts=prompts_table(means) if len(means) else None,
        prompts_note=f"In brackets: {METHOD}.",
        first_figures={name: places for name, places in groups.items() if name == FIRST},
        figures={name: places for name, places in groups.items() if name != FIRST},
        configuration=_configuration(table),
        methods=_methods(table),
        run_files=_run_files(table.runs),
        notes=_notes(table),
        assumed=assumed_of(table.runs),
        definitions=_definitions(),
        data=embedded(
            {
                "drawings": drawn.drawings,
                "settings": drawn.settings,
                "csv": {name: csv_text(one.head(CSV_ROWS)) for name, one in rows.items()},
            }
        ),
    )


def _places(drawn: Drawn) -> dict[str, list[Place]]:
    """Return the places that the script draws into, by group."""
    groups: dict[str, list[Place]] = {}
    for name, figure in figures().items():
        if name in drawn.names():
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
        " the dense baseline too. A ratio is to the baseline on the same trace, device and"
        " channels, on the same layout where it was run there; the CSV names it. A dash is a value"
        " that is not known." + left_out
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
        "Decode steps": str(int(table.rows["steps"].sum() / max(1, _groups(table.rows)))),
        "Layers kept dense": _kept_dense(table),
        "Fullest channel, fullest stack": _occupancy(table.runs) or "not known",
        "Fidelity": ", ".join(
            sorted({str(run.config.get("configuration", {}).get("fidelity")) for run in table.runs})
        ),
    }


def _methods(table: Table) -> WebTable:
    """Return every method with all its parameters."""
    described = in_order(table.configurations).unique("method", maintain_order=True)
    return text_table(
        "Every method in full", ("Method", "What it is"), described.select("method", "full").rows()
    )


def _occupancy(runs: Sequence[Results]) -> str:
    """Say how full the KV cache makes each device, under the trace and layout that fill it most."""
    found: dict[str, tuple[float, float]] = {}
    for run in runs:
        for device in run.config.get("hardware", []):
            for one in device.get("occupancy", {}).values():
                full = (one["channel_ratio"], one["stack_ratio"])
                found[device["name"]] = max(full, found.get(device["name"], full))
    return "; ".join(
        f"{name} {channel:.1%} and {stack:.1%} full" for name, (channel, stack) in found.items()
    )


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
