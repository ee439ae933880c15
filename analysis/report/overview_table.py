"""The overview as a table: in the terminal, in HTML, as CSV and as LaTeX."""

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from analysis.figures._style import scaled
from analysis.metrics import metrics
from analysis.report import markup

if TYPE_CHECKING:
    from rich.table import Table as RichTable

WITH_UNIT = ("ns", "pJ", "pJ·ns")
"""Units that stand in a heading; the others are plain from the value."""

SETTING = ("run", "trace", "hardware", "budget")
"""Columns that are shown only when they differ between rows."""

_RELATIVE = {
    "latency_vs_dense": "Latency / dense",
    "latency_vs_topk": "Latency / top-k",
    "latency_vs_sparq": "Latency / SparQ",
    "energy_vs_dense": "Energy / dense",
    "energy_vs_topk": "Energy / top-k",
    "energy_vs_sparq": "Energy / SparQ",
}
SHORT = {
    "latency": "Latency",
    "energy": "Energy",
    "over_fetch": "Over-fetch",
    "row_activations": "Row activations",
    "lane_utilisation": "Lane use",
    "balance_channels": "Channel imbalance",
    "balance_lanes": "Lane imbalance",
    "balance_gini": "Lane Gini",
    "attention_mass": "Mass kept",
    "topk_overlap": "Top-k overlap",
    "output_error": "Output error",
    "energy_delay": "Energy \u00d7 delay",
    "overhead_latency": "Overhead",
    "overhead_energy": "Overhead energy",
}
"""Headings of metrics, without the unit."""

_ORDER = (
    "latency",
    "latency_vs_dense",
    "latency_vs_topk",
    "latency_vs_sparq",
    "energy",
    "energy_vs_dense",
    "energy_vs_topk",
    "energy_vs_sparq",
    "energy_delay",
    "over_fetch",
    "row_activations",
    "lane_utilisation",
    "balance_channels",
    "balance_lanes",
    "balance_gini",
    "attention_mass",
    "topk_overlap",
    "output_error",
    "overhead_latency",
    "overhead_energy",
)
_FACTORS = ("over_fetch", "balance_channels", "balance_lanes")
"""Metrics that are read as a factor."""

TERMINAL = (
    "latency",
    "latency_vs_dense",
    "latency_vs_topk",
    "energy",
    "energy_vs_dense",
    "energy_vs_topk",
    "over_fetch",
    "balance_lanes",
    "attention_mass",
    "topk_overlap",
    "output_error",
)
"""What fits on a wide terminal; the other columns are in the report and the CSV."""

DROPPED = (
    "balance_lanes",
    "energy_vs_topk",
    "energy",
    "output_error",
    "topk_overlap",
    "over_fetch",
    "latency_vs_topk",
    "energy_vs_dense",
)
"""What a narrow terminal does without, in this order."""


class Column:
    """One column as it is printed: heading with unit, and each value as text."""

    def __init__(self, rows: pl.DataFrame, name: str) -> None:
        self.name = name
        self._values = rows[name].to_list()
        unit = metrics()[name].unit if name in metrics() else "ratio"
        self._factor, shown = scaled(self._values, unit)
        title = {**_RELATIVE, **SHORT}[name]
        self.heading = f"{title} ({shown})" if unit in WITH_UNIT else title

    def texts(self) -> list[str]:
        """Return the values, readable; a dash where unknown."""
        return [value_text(self.name, value, self._factor) for value in self._values]

    def values(self) -> list[float | None]:
        """Return the values as they are."""
        return self._values


def value_text(name: str, value: float | None, factor: float | None = None) -> str:
    """Return a value as a reader wants it: percent, a factor, or three digits of its unit.

    With `factor` the unit stands in the heading and is left out here.
    """
    if value is None:
        return "\u2013"
    if name in _RELATIVE or name in _FACTORS:
        return f"{value:.2f}\u00d7"
    unit = metrics()[name].unit
    if unit == "ratio":
        return f"{100 * value:.1f} %"
    tail = ""
    if factor is None:
        factor, shown = scaled([value], unit)
        tail = f" {shown}" if unit in WITH_UNIT else ""
    return _three_digits(value / factor) + tail


def _three_digits(value: float) -> str:
    """Return three significant digits, the zeros among them too: 1.60, 54.0, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def shown_settings(rows: pl.DataFrame) -> list[str]:
    """Return the setting columns that differ between rows."""
    return [name for name in SETTING if rows[name].n_unique() > 1]


def columns(rows: pl.DataFrame, names: tuple[str, ...] = _ORDER) -> Iterator[Column]:
    """Yield the columns that hold something."""
    for name in names:
        if rows[name].null_count() < len(rows):
            yield Column(rows, name)


def terminal_table(rows: pl.DataFrame, width: int) -> "tuple[RichTable, list[str]]":
    """Return the overview for a terminal, and the headings that did not fit its width."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    table = RichTable(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    settings = shown_settings(rows)
    texts = {name: [str(one) for one in rows[name]] for name in (*settings, "method")}
    shown = list(columns(rows, TERMINAL))
    needed = {column.name: 3 + _widest(column.heading.split(), column.texts()) for column in shown}
    room = width - 2 - sum(3 + _widest([name], texts[name]) for name in texts)
    left_out = []
    for name in DROPPED:
        if sum(needed.values()) <= room:
            break
        left_out += [column.heading for column in shown if column.name == name]
        needed.pop(name, None)
    for name in texts:
        table.add_column(name, no_wrap=True)
    shown = [column for column in shown if column.name in needed]
    for column in shown:
        table.add_column(column.heading, justify="right", min_width=needed[column.name] - 3)
    for cells in zip(*texts.values(), *(column.texts() for column in shown), strict=True):
        table.add_row(*cells)
    return table, left_out


def _widest(*groups: Sequence[str]) -> int:
    return max(len(text) for group in groups for text in group)


def html_table(rows: pl.DataFrame) -> str:
    """Return the overview as an HTML table whose headings are buttons that sort."""
    names = ["method", *shown_settings(rows)]
    shown = list(columns(rows))
    heads = [(name.capitalize(), False) for name in names]
    heads += [(column.heading, True) for column in shown]
    texts, values = [one.texts() for one in shown], [one.values() for one in shown]
    body = []
    for place, row in enumerate(rows.iter_rows(named=True)):
        cells = f'<th scope="row">{html.escape(row["method"])}</th>'
        cells += "".join(f"<td>{html.escape(str(row[name]))}</td>" for name in names[1:])
        cells += "".join(
            f'<td class="number" data-value="{"" if value[place] is None else value[place]}">'
            f"{html.escape(text[place])}</td>"
            for text, value in zip(texts, values, strict=True)
        )
        body.append(f"<tr>{cells}</tr>")
    return markup.table(
        [markup.heading(text, number, place) for place, (text, number) in enumerate(heads)],
        body,
        "Every method, over the layers that the policies decide",
        "overview",
    )


def csv_text(rows: pl.DataFrame) -> str:
    """Return the whole overview as CSV, units in the column names, nine significant digits."""
    numbers = pl.selectors.float().round_sig_figs(9)
    return rows.drop("configuration").with_columns(numbers).rename(_with_units(rows)).write_csv()


def _with_units(rows: pl.DataFrame) -> dict[str, str]:
    units = {"ns": "_ns", "pJ": "_pj", "pJ·ns": "_pj_ns", "ratio": "_ratio"}
    endings = {
        name: units.get(one.unit, "") for name, one in metrics().items() if name in rows.columns
    }
    endings |= {name: "_ratio" for name in _RELATIVE if name in rows.columns}
    endings |= dict.fromkeys(_FACTORS, "_ratio")
    return {name: name + ending for name, ending in endings.items()}


def latex_table(rows: pl.DataFrame) -> str:
    """Return the overview as a LaTeX table (booktabs)."""
    names = [*shown_settings(rows), "method"]
    shown = list(columns(rows, TERMINAL))
    align = "l" * len(names) + "r" * len(shown)
    heads = [name.capitalize() for name in names] + [column.heading for column in shown]
    texts = [column.texts() for column in shown]
    lines = [
        " & ".join(
            [_latex(str(row[name])) for name in names] + [_latex(text[place]) for text in texts]
        )
        + r" \\"
        for place, row in enumerate(rows.iter_rows(named=True))
    ]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(_latex(head) for head in heads) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "\u00d7": r"$\times$",
    "µ": r"$\mu$",
    "\u2013": "--",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
