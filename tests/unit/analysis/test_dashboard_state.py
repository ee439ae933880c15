from collections.abc import Callable

import pytest

from analysis.dashboard.content import Content
from analysis.dashboard.state import narrowed, parse_numbers
from analysis.tables import Table

Load = Callable[..., Table]


@pytest.fixture
def content(load: Load) -> Content:
    return Content(load(budgets=("128", "256"), hardware=("fast", "slow")))


def test_a_bare_address_shows_the_best_setting(content: Content) -> None:
    state = content.state("")
    assert (state.setting.budget, state.setting.hardware) == ("256", "fast")
    assert state.problems == ()
    assert content.initial()["layer"] == 1


def test_an_address_carries_every_filter(content: Content) -> None:
    query = "?budget=128&hardware=slow&policy=starc&policy=quest&layers=1-2&heads=0&first=4&last=7"
    state = content.state(query)
    table = narrowed(content.table, state)
    assert state.setting.label() == "trace needle, hardware slow, budget 128"
    assert set(table.configurations["policy"]) == {"dense", "starc", "quest"}
    assert sorted(table.rows["layer"].unique()) == [1, 2]
    assert table.rows["kv_head"].unique().to_list() == [0]
    assert sorted(table.rows["window"].unique()) == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?budget=999", "budget '999' is not in the results"),
        ("?policy=starcc", "policy 'starcc' is not in the results"),
        ("?layers=x", "layers 'x' names none of 0 to 2"),
        ("?layers=77", "layers '77' names none of 0 to 2"),
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
    for view in content.views[:-1]:
        children, status, _, hidden = content.update(f"?view={view}")
        assert children[0].children == view, view
        assert status == "Shown: trace needle, hardware fast, budget 256."
        assert hidden


def test_the_views_hold_every_figure_of_the_report(content: Content) -> None:
    from analysis.figures import figures

    assert {one.group for one in figures().values()} <= set(content.views)


def test_the_inspector_says_when_the_trace_is_gone(content: Content) -> None:
    children, _, methods, hidden = content.update("?view=Step inspector")
    assert "the trace needle is not at traces/needle any more" in children[0].children
    assert methods[0] == "topk · sequential"
    assert not hidden


@pytest.mark.parametrize(
    ("text", "expected"), [("0-2,7", (0, 1, 2, 7)), (" 3 ", (3,)), ("", None), ("a", None)]
)
def test_numbers_are_read_from_ranges(text: str, expected: tuple[int, ...] | None) -> None:
    assert parse_numbers(text) == expected
