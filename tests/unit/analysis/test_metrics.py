import polars as pl
import pytest

from analysis.metrics import metric, metrics, parts_of
from analysis.results.charge import CHARGED
from analysis.results.tables import value_columns
from pimreplay.results.schema import ENERGY_PARTS, OVERHEADS, PHASES
from tracegen.base.errors import UserError


@pytest.mark.parametrize("name", metrics())
def test_every_metric_says_what_it_is(name: str) -> None:
    one = metrics()[name]
    assert one.title and one.unit and one.source.endswith(".")
    assert one.better in ("lower", "higher")
    assert set(one.compute.meta.root_names()) <= {*value_columns(), *CHARGED}
    assert one.part_of in ("", *metrics())


@pytest.mark.parametrize("name", metrics())
def test_every_metric_is_unknown_where_its_inputs_are(name: str) -> None:
    schema = dict.fromkeys((*value_columns(), *CHARGED), pl.Float64)
    frame = pl.DataFrame({one: [None] for one in schema}, schema=schema)
    assert frame.select(metrics()[name].compute.alias("value"))["value"].to_list() == [None]


def test_titles_are_told_apart() -> None:
    titles = [one.title for one in metrics().values()]
    assert len(set(titles)) == len(titles)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean latency"):
        metric("latencyy")


def test_the_parts_of_time_and_energy_are_those_of_the_results() -> None:
    def read(whole: str) -> list[str]:
        return [root for one in parts_of(whole).values() for root in one.compute.meta.root_names()]

    assert read("head_latency") == [*PHASES, *(f"{name}_ns" for name in OVERHEADS)]
    assert read("energy") == [*ENERGY_PARTS, *(f"{name}_pj" for name in OVERHEADS)]


def test_a_column_that_is_computed_twice_is_an_amount_or_a_ratio_once() -> None:
    columns = list(value_columns())
    assert len(set(columns)) == len(columns)
