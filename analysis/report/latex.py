"""The overview as LaTeX tables, for a paper."""

from collections.abc import Sequence

import polars as pl

from analysis.report.columns import columns, shown_settings
from analysis.report.terminal_table import TextColumn, that_fit
from analysis.results.charge import CHARGES

_ESCAPES = {
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


WIDTH, GAP = 104, 3
"""Digits that fit the 7 inches of a page in footnote size, and the width of a column's gap."""


def latex_table(rows: pl.DataFrame) -> str:
    """Return the overview in LaTeX (booktabs), in as many tables as fit a page's width."""
    names = [*shown_settings(rows), "method"]
    keys = [TextColumn(name.capitalize(), [str(one) for one in rows[name]]) for name in names]
    values = [TextColumn(one.heading, one.texts) for one in columns(rows)]
    tables = [_tabular(keys, some) for some in that_fit(keys, values, WIDTH, GAP)]
    charged = CHARGES[rows["cost"][0]].words
    return "\n".join(
        [
            rf"% needs \usepackage{{booktabs}}; latency and energy: {charged}",
            r"{\footnotesize",
            "\n\n\\medskip\n".join(tables),
            "}",
            "",
        ]
    )


def _tabular(keys: Sequence[TextColumn], values: Sequence[TextColumn]) -> str:
    shown = [*keys, *values]
    heads = [_stacked(column.heading) for column in shown]
    rows = zip(*(column.cells for column in shown), strict=True)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(values)}}}",
            r"\toprule",
            _line(heads),
            r"\midrule",
            *(_line([_escaped(cell) for cell in cells]) for cells in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _stacked(heading: str) -> str:
    """Return a heading with a word a line."""
    words = [_escaped(word) for word in heading.split()]
    return words[0] if len(words) == 1 else "\\shortstack{" + "\\\\".join(words) + "}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
