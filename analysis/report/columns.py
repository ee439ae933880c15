"""The columns of the overview as they are printed: headings with units, readable values.

What is a column is decided by the metrics alone: all that are not parts of others, in their
order, each cost followed by its ratios to the baselines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import polars as pl

from analysis.metrics import metrics, whole_metrics
from analysis.results.baselines import BASELINES, COSTS
from analysis.results.magnitudes import scaled, times

WITH_UNIT = ("ns", "pJ", "pJ·ns")
"""Units that stand in a heading; the others are plain from the value."""

SETTING = ("run", "trace", "hardware", "budget")
"""Columns that are shown only when they differ between rows."""

UNKNOWN = "\u2013"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds, whatever the rows."""

    heading: str
    """Without the unit."""
    unit: str
    factor: bool
    """Read as a multiple."""


@cache
def kinds() -> dict[str, Kind]:
    """Return the columns of the overview by name, in order."""
    found = {}
    for name, one in whole_metrics().items():
        found[name] = Kind(one.heading, one.unit, one.factor)
        if name in COSTS:
            for baseline in BASELINES:
                kind = Kind(f"{one.heading} / {baseline}", "ratio", factor=True)
                found[f"{name}_vs_{baseline}"] = kind
    return found


class Column:
    """One column as it is printed: heading with unit, and each value as text."""

    def __init__(self, rows: pl.DataFrame, name: str) -> None:
        kind = kinds()[name]
        self.name = name
        self.values: list[float | None] = rows[name].to_list()
        factor, unit = scaled(self.values, kind.unit)
        self.heading = f"{kind.heading} ({unit})" if kind.unit in WITH_UNIT else kind.heading
        self.texts = [value_text(name, value, factor) for value in self.values]


def columns(rows: pl.DataFrame) -> Iterator[Column]:
    """Yield the columns that hold something."""
    for name in kinds():
        if rows[name].null_count() < len(rows):
            yield Column(rows, name)


def shown_settings(rows: pl.DataFrame) -> list[str]:
    """Return the setting columns that differ between rows."""
    return [name for name in SETTING if rows[name].n_unique() > 1]


def value_text(name: str, value: float | None, factor: float | None = None) -> str:
    """Return a value as a reader wants it: percent, a multiple, or three digits of its unit.

    With `factor` the unit stands in the heading and is left out here.
    """
    kind = kinds()[name]
    if value is None:
        return UNKNOWN
    if kind.factor:
        return times(value)
    if kind.unit == "ratio":
        return f"{100 * value:.1f} %"
    tail = ""
    if factor is None:
        factor, unit = scaled([value], kind.unit)
        tail = f" {unit}" if kind.unit in WITH_UNIT else ""
    return _three_digits(value / factor) + tail


def _three_digits(value: float) -> str:
    """Return three significant digits, the zeros among them too: 1.60, 54.0, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def csv_text(rows: pl.DataFrame) -> str:
    """Return the whole overview as CSV, units in the column names, nine significant digits."""
    endings = {"ns": "_ns", "pJ": "_pj", "pJ·ns": "_pj_ns", "ratio": "_ratio"}
    units = {name: endings.get(one.unit, "") for name, one in metrics().items()}
    units |= {name: "_ratio" for name, one in kinds().items() if one.factor}
    names = {name: name + units.get(name, "") for name in rows.columns}
    numbers = pl.selectors.float().round_sig_figs(9)
    return (
        rows.drop("configuration", "full")
        .with_columns(numbers)
        .rename(names, strict=False)
        .write_csv()
    )
