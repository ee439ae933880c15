"""What a reader has chosen, as the query of the page's address: a view can be shared as a link."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

import polars as pl

from analysis.results.baselines import BASELINES
from analysis.results.charge import CHARGES
from analysis.results.summary import Setting, settings
from analysis.results.tables import Table
from tracegen.base.numbers import parse_ranges, whole_number, within, write_ranges

KEYS = (
    "view",
    "run",
    "model",
    "trace",
    "hardware",
    "budget",
    "cost",
    "methods",
    "layers",
    "heads",
    "first",
    "last",
    "dense",
    "every",
    "method",
    "beside",
    "layer",
    "kv_head",
    "q_head",
    "step",
)
"""Keys of the query: one a control, the control's id."""


TABLE = "Table"
"""View of the dashboard that shows numbers."""

LAST = 1 << 30
"""Last step of a range that has no end."""


@dataclass(frozen=True, slots=True)
class State:
    """A validated choice; what the query does not say, or says wrongly, has its default."""

    view: str
    setting: Setting
    runs: tuple[str, ...]
    models: tuple[str, ...]
    cost: str
    """What latency and energy contain, one of `CHARGES`."""
    methods: tuple[str, ...]
    """Methods that are shown; none: all."""
    layers: tuple[int, ...] | None
    kv_heads: tuple[int, ...] | None
    steps: tuple[int, int] | None
    dense_layers: bool
    """Show the layers that the run kept dense too."""
    every: bool
    """In the table, show every trace, device and budget and not only the chosen ones."""
    method: str
    """Inspected method."""
    beside: str
    """Another to be shown beside it; empty: none."""
    layer: int | None
    kv_head: int
    q_head: int
    step: int
    problems: tuple[str, ...]
    """What the query said that could not be used."""

    def label(self) -> str:
        """Return every filter that is set, in words."""
        where = "every trace, hardware and budget" if self.every else self.setting.label()
        parts = [where, CHARGES[self.cost].words]
        listed = {
            "results": self.runs,
            "models": self.models,
            "methods": self.methods,
            "layers": write_ranges(self.layers or ()),
            "KV heads": write_ranges(self.kv_heads or ()),
            "steps": () if self.steps is None else (f"{self.steps[0]} to {self.last_step()}",),
        }
        for name, values in listed.items():
            if values:
                text = values if isinstance(values, str) else ", ".join(values)
                parts.append(f"{name} {text}")
        if self.dense_layers:
            parts.append("layers kept dense too")
        return ", ".join(parts)

    def last_step(self) -> str:
        """Return the last step that is kept, in words."""
        return "the last" if self.steps is None or self.steps[1] == LAST else str(self.steps[1])

    def filters(self) -> "State":
        """Return the state with only what decides which rows are shown."""
        return replace(
            self,
            view="",
            method="",
            beside="",
            layer=None,
            kv_head=0,
            q_head=0,
            step=0,
            problems=(),
        )


def read_state(query: str, table: Table, views: Sequence[str]) -> State:
    """Read the query of an address, such as `?trace=needle&policy=starc&steps=0-63`."""
    given = parse_qs(query.lstrip("?"), keep_blank_values=False)
    problems: list[str] = []
    described = table.configurations

    def many(key: str, column: str = "") -> tuple[str, ...]:
        known = described[column or key].unique().to_list()
        asked = given.get(key, [])
        problems.extend(f"{key} {one!r} is not in the results" for one in asked if one not in known)
        return tuple(one for one in asked if one in known)

    def number(key: str) -> int | None:
        text = given.get(key, [""])[0]
        if not text:
            return None
        found = whole_number(text)
        if found is None:
            problems.append(f"{key} {text!r} is not a whole number")
        return found

    def numbers(key: str, known: Sequence[int]) -> tuple[int, ...] | None:
        text = given.get(key, [""])[0].strip()
        if not text:
            return None
        try:
            kept = within(parse_ranges(text), known)
        except ValueError:
            kept = ()
        if not kept:
            problems.append(f"{key} {text!r} names none of {known[0]} to {known[-1]}")
            return None
        return kept

    models = many("model")
    chosen = described.filter(pl.col("model").is_in(list(models))) if models else described
    setting = _setting(given, table, chosen, problems)
    first, last = number("first"), number("last")
    steps = None if first is None and last is None else (first or 0, LAST if last is None else last)
    if steps is not None and steps[1] < steps[0]:
        problems.append(f"the last step {steps[1]} is before the first {steps[0]}")
        steps = None
    view = given.get("view", [views[0]])[0]
    method = given.get("method", [""])[0]
    cost = given.get("cost", [table.charged])[0]
    if cost not in CHARGES:
        problems.append(f"cost {cost!r} is none of {', '.join(CHARGES)}")
    return State(
        view=view if view in views else views[0],
        setting=setting,
        runs=many("run"),
        models=models,
        cost=cost if cost in CHARGES else table.charged,
        methods=many("methods", "method"),
        layers=numbers("layers", sorted(table.rows["layer"].unique())),
        kv_heads=numbers("heads", sorted(table.rows["kv_head"].unique())),
        steps=steps,
        dense_layers="yes" in given.get("dense", []),
        every=view == TABLE and "yes" in given.get("every", []),
        method=method,
        beside=given.get("beside", [""])[0],
        layer=number("layer"),
        kv_head=number("kv_head") or 0,
        q_head=number("q_head") or 0,
        step=number("step") or 0,
        problems=tuple(problems),
    )


def _setting(
    given: dict[str, list[str]], table: Table, chosen: pl.DataFrame, problems: list[str]
) -> Setting:
    """Return the asked setting, or the best one that has as much of it as the results hold."""
    narrowed = table.narrowed(configurations=chosen["configuration"].to_list())
    candidates = settings(narrowed)
    for key in ("trace", "hardware", "budget"):
        asked = given.get(key, [""])[0]
        if not asked:
            continue
        matching = [one for one in candidates if getattr(one, key) == asked]
        if matching:
            candidates = matching
        else:
            problems.append(f"{key} {asked!r} is not in the results with the rest of the choice")
    return candidates[0]


def narrowed(table: Table, state: State) -> Table:
    """Return the part of the table that the state asks for, every budget and device included.

    Dense attention stays whatever methods are chosen: it is the baseline. The other baselines are
    still compared with, whether they are shown or not.
    """
    described = table.configurations
    for key, values in (("run", state.runs), ("model", state.models)):
        if values:
            described = described.filter(pl.col(key).is_in(list(values)))
    baselines = described.filter(pl.col("policy").is_in(list(BASELINES)))
    if state.methods:
        dense = pl.col("policy") == "dense"
        described = described.filter(pl.col("method").is_in(list(state.methods)) | dense)
    return replace(table.charging(state.cost), baselines=baselines).narrowed(
        configurations=described["configuration"].to_list(),
        layers=state.layers,
        kv_heads=state.kv_heads,
        steps=state.steps,
        policy_layers=not state.dense_layers,
    )
