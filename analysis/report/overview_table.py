"""The overview as a table in a page: it sorts, and shows one charge at a time."""

from collections.abc import Iterator, Mapping

import polars as pl

from analysis.report.columns import Column, columns, shown_settings
from analysis.report.web import Cell, Head, WebTable
from analysis.results.charge import CHARGES


def overview_table(rows: Mapping[str, pl.DataFrame]) -> WebTable:
    """Return the overview; `rows` are the same rows under each of `CHARGES`.

    A column that depends on the charge is there once for each, of class `cost-<charge>`.
    """
    one = next(iter(rows.values()))
    names = ["method", *shown_settings(one)]
    keys = [[Cell(str(value)) for value in one[name]] for name in names]
    shown = list(_columns(rows))
    cells = [
        [Cell(text, True, value, kind) for text, value in zip(own.texts, own.values, strict=True)]
        for kind, own in shown
    ]
    heads = [Head(name.capitalize()) for name in names]
    heads += [Head(own.heading, True, kind) for kind, own in shown]
    caption = "Every method, over the layers that the policies decide"
    return WebTable(caption, heads, list(zip(*keys, *cells, strict=True)), "overview", sorts=True)


def _columns(rows: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, Column]]:
    """Yield the class of each column, and the column."""
    by_charge = {name: {own.name: own for own in columns(frame)} for name, frame in rows.items()}
    for name in dict.fromkeys(name for own in by_charge.values() for name in own):
        variants = {charge: own[name] for charge, own in by_charge.items() if name in own}
        values = {tuple(own.values) for own in variants.values()}
        if len(variants) == len(CHARGES) and len(values) == 1:
            yield "", next(iter(variants.values()))
        else:
            yield from ((f"cost-{charge}", own) for charge, own in variants.items())
