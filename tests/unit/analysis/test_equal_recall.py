from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.results.equal_recall import LEVELS, cost_at, costs_at_recall
from analysis.results.tables import Table

RECALL, COST = st.floats(0, 1), st.floats(0.01, 100)
POINTS = st.lists(st.tuples(RECALL, COST), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.9, 0.4),  # half way between two budgets
        (0.8, 0.3),  # a budget itself
        (0.5, 0.3),  # every budget keeps more: the cheapest
        (1.0, 0.5),
        (1.01, None),  # never beyond the largest budget
    ],
)
def test_a_cost_is_interpolated_and_never_extrapolated(
    level: float, expected: float | None
) -> None:
    assert cost_at([(1.0, 0.5), (0.8, 0.3)], level) == pytest.approx(expected)


def test_a_larger_budget_that_is_cheaper_is_taken() -> None:
    assert cost_at([(0.8, 0.5), (0.95, 0.2)], 0.8) == 0.2


@given(points=POINTS, level=RECALL)
def test_a_cost_at_a_level_is_within_the_measured_ones(
    points: list[tuple[float, float]], level: float
) -> None:
    found = cost_at(points, level)
    costs = [cost for _, cost in points]
    assert (found is None) == (max(recall for recall, _ in points) < level)
    if found is not None:
        assert min(costs) * (1 - 1e-9) <= found <= max(costs) * (1 + 1e-9)


@given(points=POINTS, levels=st.tuples(RECALL, RECALL))
def test_more_recall_never_costs_less(
    points: list[tuple[float, float]], levels: tuple[float, float]
) -> None:
    low, high = sorted(levels)
    less, more = cost_at(points, low), cost_at(points, high)
    if more is not None:
        assert less is not None
        assert less <= more * (1 + 1e-9)


def test_every_method_has_a_cost_at_every_level_it_reaches(
    load: Callable[..., Table],
) -> None:
    table = load().narrowed(policy_layers=True).charging("attention")
    costs = costs_at_recall(table, "latency")
    rows = {(row["method"], row["level"]): row["ratio"] for row in costs.iter_rows(named=True)}
    assert set(rows) == {
        (method, level) for method in ("topk", "sparq", "quest", "starc") for level in LEVELS
    }
    assert rows["quest", 0.95] == pytest.approx(0.2)
    assert rows["quest", 0.99] is None
