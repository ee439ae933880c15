from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.results.accuracy import Accuracy, beside
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


def test_perplexity_and_scores_are_held_equal_to_those_of_dense(
    load: Callable[..., Table], accuracy_of: Callable[..., Accuracy]
) -> None:
    """Made-up accuracy: dense has 10, the methods 11, 12, 13, 14 in the order of the table."""
    table = load().charging("attention")
    table = beside(table, accuracy_of(table)).narrowed(policy_layers=True)
    assert table.accuracy is not None
    value = dict(table.accuracy.select("policy", "value").rows())

    def found(quality: str) -> dict[tuple[str, float], float | None]:
        costs = costs_at_recall(table, "latency", quality)
        return {(row[0], row[3]): row[4] for row in costs.iter_rows()}

    perplexity, score = found("perplexity"), found("ruler_score_ratio")
    for method, cost in {"topk": 0.5, "sparq": 0.6, "quest": 0.2, "starc": 0.25}.items():
        for level in LEVELS:
            kept = 10 / value[method] >= level
            assert perplexity[method, level] == (pytest.approx(cost) if kept else None)
            assert score[method, level] == pytest.approx(cost)  # all have more than dense


def test_without_accuracy_nothing_is_held_equal_to_it(load: Callable[..., Table]) -> None:
    assert costs_at_recall(load(), "latency", "perplexity").is_empty()
