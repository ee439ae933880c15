"""The overview as a LaTeX table, for a paper."""

import polars as pl

from analysis.report.columns import columns, shown_settings

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


def latex_table(rows: pl.DataFrame) -> str:
    """Return the overview as a LaTeX table (booktabs)."""
    names = [*shown_settings(rows), "method"]
    shown = list(columns(rows))
    heads = [name.capitalize() for name in names] + [column.heading for column in shown]
    keys = [[str(value) for value in rows[name]] for name in names]
    lines = zip(*keys, *(column.texts for column in shown), strict=True)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'l' * len(names)}{'r' * len(shown)}}}",
            r"\toprule",
            _line(heads),
            r"\midrule",
            *(_line(cells) for cells in lines),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
