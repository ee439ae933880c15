"""What changed between two results folders: the configuration first, then every method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.metrics import whole_metrics
from analysis.results.charge import DEFAULT_CHARGE
from analysis.results.summary import overview
from analysis.results.tidying import tidy
from pimreplay.results.reader import Results
from tracegen.base.errors import UserError

_KEYS = ("trace", "policy", "policy_parameters", "layout", "hardware", "budget")
_VOLATILE = ("configuration_sha256",)
_REPEATED = (".values.title", ".values.assumed")
"""Entries that stand elsewhere in `run.json` too."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry of `run.json` that is not the same; None where one side lacks it."""

    entry: str
    before: str | None
    after: str | None


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
    cost: str = DEFAULT_CHARGE,
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
        configuration=list(_differences(before.config, after.config)),
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


def _differences(before: Any, after: Any, entry: str = "") -> Iterator[Difference]:
    left, right = _named(before), _named(after)
    if not isinstance(left, dict) or not isinstance(right, dict):
        if left != right:
            yield Difference(entry, _text(left), _text(right))
        return
    for key in [*left, *(key for key in right if key not in left)]:
        inner = f"{entry}.{key}" if entry else str(key)
        if key not in _VOLATILE and not inner.endswith(_REPEATED):
            yield from _differences(left.get(key), right.get(key), inner)


def _named(value: Any) -> Any:
    """Turn a list of objects with names into an object, so that order makes no difference."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return {
            str(one.get("name") or _method(one) or place): one for place, one in enumerate(value)
        }
    return value


def _method(value: dict[str, Any]) -> str | None:
    if "policy" not in value:
        return None
    parameters = f":{value['parameters']}" if value.get("parameters") else ""
    return f"{value['policy']}{parameters}@{value.get('layout')}"


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(str(_text(one)) for one in value) or "none"
    return str(value)
