"""The table of means over prompts, each with its interval, as text."""

import polars as pl

from analysis.report.columns import UNKNOWN, columns, kinds, shown_settings, value_text
from analysis.report.terminal_table import TextColumn
from analysis.report.web import WebTable, text_table
from analysis.results.magnitudes import scaled


def prompt_keys(rows: pl.DataFrame) -> list[TextColumn]:
    """Return what names a row: the folder of traces, how many prompts, settings, the method."""
    headings = {"prompts": "traces", "n_prompts": "prompts"}
    settings = [one for one in shown_settings(rows.rename({"prompts": "trace"})) if one != "trace"]
    names = [*headings, *settings, "method"]
    return [TextColumn(headings.get(one, one), [str(cell) for cell in rows[one]]) for one in names]


def prompts_table(rows: pl.DataFrame) -> WebTable:
    """Return the means with their intervals as a table of a page."""
    columns = [*prompt_keys(rows), *intervals(rows)]
    return text_table(
        "Every method, over all prompts, over the layers that the policies decide",
        [one.heading for one in columns],
        zip(*(one.cells for one in columns), strict=True),
        "prompts",
    )


def intervals(rows: pl.DataFrame) -> list[TextColumn]:
    """Return a column per value: the mean, and the interval in brackets where it is known."""
    found = []
    for column in columns(rows):
        factor, _ = scaled(column.values, kinds()[column.name].unit)
        bounds = zip(rows[f"{column.name}_low"], rows[f"{column.name}_high"], strict=True)
        texts = [
            [value_text(column.name, one, factor) for one in both if one is not None]
            for both in bounds
        ]
        cells = [
            f"{mean}\n[{both[0]}, {both[1]}]" if both and mean != UNKNOWN else mean
            for mean, both in zip(column.texts, texts, strict=True)
        ]
        found.append(TextColumn(column.heading, cells))
    return found
