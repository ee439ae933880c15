import polars as pl
import pytest

from analysis.metrics import metric, metrics
from analysis.results.tables import VALUES
from tracegen.base.errors import UserError


@pytest.mark.parametrize("name", metrics())
def test_every_metric_says_what_it_is(name: str) -> None:
    one = metrics()[name]
    assert one.title and one.unit and one.source.endswith(".")
    assert one.better in ("lower", "higher")
    assert set(one.compute.meta.root_names()) <= set(VALUES)


@pytest.mark.parametrize("name", metrics())
def test_every_metric_is_unknown_where_its_inputs_are(name: str) -> None:
    frame = pl.DataFrame({one: [None] for one in VALUES}, schema=dict.fromkeys(VALUES, pl.Float64))
    assert frame.select(metrics()[name].compute.alias("value"))["value"].to_list() == [None]


def test_titles_are_told_apart() -> None:
    titles = [one.title for one in metrics().values()]
    assert len(set(titles)) == len(titles)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean latency"):
        metric("latencyy")
