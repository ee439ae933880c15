"""What changed between two results folders: the configuration first, then every method."""

from dataclasses import dataclass

import polars as pl

from analysis.metrics import whole_metrics
from analysis.results.differences import Difference, differences, same_devices
from analysis.results.summary import overview
from analysis.results.tidying import tidy
from pimreplay.results.reader import Results
from tracegen.base.errors import UserError

_KEYS = ("trace", "policy", "policy_parameters", "layout", "hardware", "budget")


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that differs between run A and run B."""

    before: str
    after: str
    configuration: list[Difference]
    methods: pl.DataFrame
    """One row per method in both: its keys, and `<metric>_a`, `<metric>_b`, `<metric>_change`
    (B over A, minus 1; null where unknown or A is 0) for each metric that tables show."""
    relaxed: list[str]
    """Settings that differ as a whole (one value in A, another in B), so rows match without."""
    only_before: list[str]
    only_after: list[str]


def changes(
    before: Results,
    after: Results,
    different_traces: bool = False,
    cost: str | None = None,
) -> Changes:
    """Compare two runs.

    Raises:
        UserError: they replayed different traces and that was not asked for, or no method of
            one is in the other.
    """
    if not different_traces:
        _refuse_different_traces(before, after)
    table = tidy([before, after]).charging(cost)
    rows = overview(table.narrowed(policy_layers=True))
    left, right = rows.filter(run=before.name), rows.filter(run=after.name)
    names = same_devices(before.config, after.config)
    right = right.with_columns(pl.col("hardware").replace(names))
    relaxed = [
        name
        for name in _KEYS
        if left[name].n_unique() == right[name].n_unique() == 1 and left[name][0] != right[name][0]
    ]
    keys = [name for name in _KEYS if name not in relaxed]
    shown = list(whole_metrics())
    both = left.select(*_KEYS, "method", *shown).join(
        right.select(*_KEYS, *shown), on=keys, how="inner", suffix="_b", maintain_order="left"
    )
    if both.is_empty():
        raise UserError(
            f"{before.path} and {after.path}: no method with the same parameters, layout, hardware"
            " and budget is in both; compare runs that share one"
        )
    changed = both.with_columns(_change(name).alias(f"{name}_change") for name in shown).rename(
        {name: f"{name}_a" for name in shown}
    )
    return Changes(
        before=before.name,
        after=after.name,
        configuration=list(differences(before.config, after.config)),
        methods=changed,
        relaxed=relaxed,
        only_before=_unmatched(left, right, keys),
        only_after=_unmatched(right, left, keys),
    )


def _change(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != 0).then(pl.col(f"{name}_b") / pl.col(name) - 1)


def _unmatched(rows: pl.DataFrame, others: pl.DataFrame, keys: list[str]) -> list[str]:
    alone = rows.join(others, on=keys, how="anti", maintain_order="left")
    return [
        f"{row['method']}, budget {row['budget']}, {row['hardware']}"
        for row in alone.iter_rows(named=True)
    ]


def _refuse_different_traces(before: Results, after: Results) -> None:
    left, right = _traces(before), _traces(after)
    if set(left) != set(right):
        raise UserError(
            f"{before.path} and {after.path}: different traces were replayed"
            f" ({', '.join(left.values()) or 'unknown'} against"
            f" {', '.join(right.values()) or 'unknown'}), so a difference says nothing about the"
            " methods; replay one trace twice, or ask for it with --different-traces"
        )


def _traces(run: Results) -> dict[str, str]:
    """Return the names of a run's traces by hash: what was replayed, wherever it lay."""
    return {
        str(one.get("hash")): f"{one.get('name')} {str(one.get('hash'))[:8]}"
        for one in run.config.get("traces", [])
    }
