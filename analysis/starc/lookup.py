"""Every step inside the report: block rows and cycles, for a look-up and a download."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.report.web import Head, WebTable
from analysis.starc.cost import ROW_TOKENS
from analysis.starc.shapes import SHAPES
from analysis.starc.study import CONTEXTS, Series, Study

MOST_STEPS = 500_000
"""Tables of more steps in all are left to `--csv`: the report stays below 8 MB."""


def steps_data(study: Study) -> dict[str, Any] | None:
    """Return block rows and cycles of every step for the report's script; None: too many.

    Cycles are given once for each number of block rows where that says all, which it does up to
    one head a channel.
    """
    if (
        sum(len(series.context) for series in study.series if series.tokens is not None)
        > MOST_STEPS
    ):
        return None
    cycles: dict[int, int] = {}
    pairs = {pair for series in study.series for pair in _pairs(series)}
    shared = len(pairs) == len({rows for rows, _ in pairs})
    if shared:
        cycles = dict(sorted(pairs))
    return {
        "first": study.system.prompt_tokens + 1,
        "row": ROW_TOKENS,
        "clock": study.hardware.t_ck_ns,
        "cycles": cycles,
        "series": [_series(series, shared) for series in study.series],
    }


@dataclass(frozen=True, slots=True)
class Lookup:
    """The form that shows one step."""

    models: dict[str, str]
    """Titles by name, those with tables first."""
    first: int
    """Tokens in the cache at the first step, and at the last."""
    last: int
    start: int
    """What is shown first."""
    table: WebTable
    """Its heading; the page's script fills it."""


def lookup_form(study: Study) -> Lookup:
    """Return the form that shows one step."""
    shapes = sorted(SHAPES, key=study.shapes_without_tables().__contains__)
    first = study.system.prompt_tokens + 1
    last = max(int(series.context[-1]) for series in study.series)
    start = next((tokens for tokens in reversed(CONTEXTS) if first <= tokens <= last), last)
    heads = [Head("Method"), *(Head(one, True) for one in ("Block rows", "Cycles", "Latency (µs)"))]
    return Lookup(
        models={shape.name: shape.title for shape in shapes},
        first=first,
        last=last,
        start=start,
        table=WebTable("The step that reads so many tokens", heads, (), "lookup"),
    )


def _pairs(series: Series) -> set[tuple[int, int]]:
    both = np.unique(np.stack([series.costs.block_rows, series.costs.cycles]), axis=1)
    return {(int(rows), int(cycles)) for rows, cycles in both.T}


def _series(series: Series, shared: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": series.shape.name,
        "method": series.label,
        "steps": len(series.context),
    }
    if series.tokens is not None:
        found["rows"] = series.costs.block_rows.tolist()
    if not shared:
        found["cycles"] = series.costs.cycles.tolist()
    return found
