import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest

from analysis.dashboard.content import Content
from analysis.dashboard.state import KEYS, narrowed
from analysis.figures import figures
from analysis.results.accuracy import Accuracy, beside
from analysis.results.summary import at
from analysis.results.tables import Table

Load = Callable[..., Table]


@pytest.fixture
def content(load: Load, accuracy_of: Callable[..., Accuracy]) -> Content:
    table = load(budgets=("128", "256"), hardware=("fast", "slow"))
    return Content(beside(table, accuracy_of(table)))


def test_a_bare_address_shows_the_best_setting(content: Content) -> None:
    state = content.state("")
    assert (state.setting.budget, state.setting.hardware) == ("256", "fast")
    assert state.problems == ()
    assert content.initial()["layer"] == 1


def test_an_address_carries_every_filter(content: Content) -> None:
    query = "?budget=128&hardware=slow&methods=starc&methods=quest&layers=1-2&heads=0&first=4"
    query += "&last=7&cost=scoring"
    state = content.state(query)
    table = narrowed(content.table, state)
    assert state.setting.label() == "trace needle, hardware slow, budget 128"
    assert set(table.configurations["policy"]) == {"dense", "starc", "quest"}
    assert sorted(table.rows["layer"].unique()) == [1, 2]
    assert table.rows["kv_head"].unique().to_list() == [0]
    assert sorted(table.rows["window"].unique()) == [4, 5, 6, 7]
    assert table.charged == "scoring"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?budget=999", "budget '999' is not in the results"),
        ("?methods=starcc", "methods 'starcc' is not in the results"),
        ("?layers=x", "layers 'x' names none of 0 to 2"),
        ("?layers=77", "layers '77' names none of 0 to 2"),
        ("?cost=most", "cost 'most' is none of attention, scoring, all"),
        ("?first=9&last=3", "the last step 3 is before the first 9"),
        ("?first=minus", "first 'minus' is not a whole number"),
    ],
)
def test_what_an_address_says_wrongly_is_told_and_not_used(
    content: Content, query: str, problem: str
) -> None:
    assert problem in content.state(query).problems[0]
    assert problem in content.update(query)[1]


def test_dense_layers_come_back_when_asked_for(content: Content) -> None:
    assert sorted(narrowed(content.table, content.state("")).rows["layer"].unique()) == [1, 2]
    table = narrowed(content.table, content.state("?dense=yes"))
    assert sorted(table.rows["layer"].unique()) == [0, 1, 2]


def test_every_view_shows_something(content: Content) -> None:
    everything = "all overheads included"
    for view in content.views[:-1]:
        children, status, _, _, *hidden = content.update(f"?view={view}")
        assert children[0].children == view, view
        assert status == f"Shown: trace needle, hardware fast, budget 256, {everything}."
        assert hidden == [view != "Banks", True, view != "Table"], view


def test_the_views_hold_every_figure_of_the_report(content: Content) -> None:
    assert {one.group for one in figures().values()} <= set(content.views)


def test_the_inspector_says_when_the_trace_is_gone(content: Content) -> None:
    children, _, methods, _, *hidden = content.update("?view=Step inspector")
    assert re.search("the trace needle is not at .*/traces/needle any more", children[0].children)
    assert methods[0] == "topk"
    assert hidden == [False, False, True]


def drawn(content: Content, query: str, name: str) -> dict[str, Any]:
    """Return what the dashboard's graph `name` shows."""
    children, *_ = content.update(query)
    for card in next(
        one for one in children if getattr(one, "className", "") == "figures"
    ).children:
        graph = card.children[1].children
        if graph.id == name:
            return graph.figure
    raise AssertionError(f"{name} is not drawn for {query}")


def test_a_baseline_is_compared_with_where_a_filter_does_not_show_it(content: Content) -> None:
    figure = drawn(
        content, "?view=Against the baselines&methods=starc&cost=attention", "latency_against_topk"
    )
    bars = dict(zip(figure["data"][0]["y"], figure["data"][0]["x"], strict=True))
    assert bars == {"dense": pytest.approx(2), "starc": pytest.approx(0.5)}
    query = "?view=Table&methods=starc&cost=attention&every=yes"
    table = content.overview(query).filter(policy="starc")
    assert table["latency_vs_topk"].to_list() == pytest.approx([0.5] * 4)
    assert table["latency_vs_sparq"].null_count() == 0


def test_a_map_shows_the_chosen_method_and_its_name(content: Content) -> None:
    query = "?view=Banks&method=quest"
    figure = drawn(content, query, "banks_channel_lane")
    shown = [trace["name"] for trace in figure["data"] if trace["visible"]]
    assert shown == ["quest"] == [figure["layout"]["title"]["text"]]
    assert "updatemenus" not in figure["layout"]


def test_what_is_not_drawn_says_what_it_needs(load: Load) -> None:
    children, *_ = Content(load()).update("?view=Device by device")
    texts = [one.children for one in children[1].children]
    needed = "results of dense attention and of another method on two devices"
    assert f"Latency on each device: not drawn, it needs {needed}." in texts


@pytest.mark.parametrize(
    "name", [name for name, one in figures().items() if "accuracy folder" not in (one.needs or "")]
)
def test_what_a_mark_stands_for_are_values_of_controls(content: Content, name: str) -> None:
    sparse = content.table.narrowed(policy_layers=True)
    figure = figures()[name]
    drawing = figure.draw(at(sparse, content.state("").setting, figure.scope))
    assert drawing is not None
    found = 0
    for trace in drawing.data:
        meta = trace.get("meta", {})
        marks = trace.get("customdata", [])
        cells = [cell for row in marks if isinstance(row, list) for cell in row]
        picks = [meta.get("pick", {}), *(cells or marks)]
        assert {*meta.get("x", []), *meta.get("y", [])} <= set(KEYS)
        for pick in picks:
            state = content.state("?" + urlencode(pick))
            assert set(pick) <= set(KEYS)
            assert state.problems == ()
            found += bool(pick)
    assert found >= 4


def test_the_line_of_status_names_every_filter(content: Content) -> None:
    query = "?methods=starc&layers=1-2&heads=0&first=4&dense=yes&cost=scoring&budget=128"
    assert content.update(query)[1] == (
        "Shown: trace needle, hardware fast, budget 128, attention and scoring, methods starc,"
        " layers 1-2, KV heads 0, steps 4 to the last, layers kept dense too."
    )


def test_the_table_is_of_what_is_chosen_unless_everything_is_asked_for(content: Content) -> None:
    def shown(query: str) -> set[tuple[str, str, str]]:
        rows = content.overview(f"?view=Table{query}").filter(pl.col("policy") != "dense")
        return set(rows.select("method", "hardware", "budget").rows())

    methods = ("topk", "sparq", "quest", "starc")
    assert shown("") == {(method, "fast", "256") for method in methods}
    assert shown("&hardware=slow&budget=128&methods=starc") == {("starc", "slow", "128")}
    assert len(shown("&every=yes")) == len(methods) * 2 * 2
    status = content.update("?view=Table&every=yes&methods=starc")[1]
    assert status.startswith("Shown: every trace, hardware and budget, all overheads included")
    assert "every trace" not in content.update("?view=Banks&every=yes")[1]


def test_the_table_sorts_by_number_and_is_read_with_units(content: Content) -> None:
    *_, grid = content.update("?view=Table&cost=attention")[0]
    (latency,) = [one for one in grid.columnDefs if one["field"] == "latency"]
    assert latency["headerName"] == "Latency (µs)"
    assert latency["valueFormatter"] == {"function": "params.data.latency_text"}
    rows = {row["method"]: row for row in grid.rowData}
    expected = content.overview("?view=Table&cost=attention").filter(policy="starc")
    assert rows["starc"]["latency"] == expected["latency"].item()
    assert rows["starc"]["latency_text"] == f"{expected['latency'].item() / 1000:.3g}".ljust(4, "0")
    assert rows["starc"]["full"] == "starc, on clustered"
