import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.figures import Drawing, figures
from analysis.figures._style import _COLOURS, axis_title, colour
from analysis.figures.pareto import pareto_front
from analysis.metrics import metrics
from analysis.results.accuracy import Accuracy, beside
from analysis.results.magnitudes import scaled
from analysis.results.summary import at, settings
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError

Load = Callable[..., Table]
UNITS = {one.unit for one in metrics().values()} | {
    *("µs", "ms", "s", "nJ", "µJ", "mJ", "J", "µJ·µs", "index", "multiple of dense"),
    *("multiple of exact top-k", "multiple of the mean", "pJ", "ns"),
    *("per token", "share of expected strings"),
}


def draw(table: Table, name: str) -> Drawing:
    figure = figures()[name]
    sparse = table.narrowed(policy_layers=True)
    found = figure.draw(at(sparse, settings(table)[0], figure.scope))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def sweep(make_once: Callable[..., Path]) -> Table:
    settings = {"budgets": ("128", "256"), "hardware": ("attacc_hbm3_bank", "attacc_hbm3_bg")}
    table = tidy(open_results([make_once(**settings)]))
    return beside(table, accuracy_of(table))


def accuracy_of(table: Table, **description: Any) -> Accuracy:
    """Return made-up accuracy of every method and budget: each has the number of its row."""
    named = pl.concat_str("policy", "policy_parameters", separator=":").str.strip_chars_end(":")
    cells = (
        table.configurations.filter(pl.col("policy") != "dense")
        .select(policy=named, budget=pl.col("budget"))
        .unique(maintain_order=True)
    )
    cells = pl.concat([pl.DataFrame({"policy": ["dense"], "budget": ["all"]}), cells])
    values = pl.Series("value", range(len(cells)), dtype=pl.Float64)
    numbered = cells.with_columns(values, low=values - 1, high=values + 2)
    measures = pl.concat(
        numbered.with_columns(task=pl.lit("t"), measure=pl.lit(one))
        for one in ("perplexity", "ruler_score_ratio")
    )
    known = {"model": "reference", "layers": 3, "dense_layers": 1} | description
    return Accuracy("acc", known, pl.DataFrame(), measures)


@pytest.fixture(scope="module")
def alone(make_once: Callable[..., Path]) -> Table:
    return tidy(open_results([make_once(policies=("quest",))]))


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_one_that_plotly_takes(sweep: Table, name: str) -> None:
    go.Figure(draw(sweep, name).plain())


@pytest.mark.parametrize("name", figures())
def test_every_numeric_axis_has_a_title_with_its_unit(sweep: Table, name: str) -> None:
    drawing = draw(sweep, name)
    for axis in ("xaxis", "yaxis"):
        text = drawing.layout[axis]["title"]["text"].replace("<br>", " ")
        if not text:
            labels = drawing.data[0]["y"]
            assert all(isinstance(label, str) for label in labels), "an axis without a title"
            continue
        units = re.findall(r"\(([^()]*)\)", text)
        assert units and units[-1] in UNITS, text


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_small_and_plain(sweep: Table, name: str) -> None:
    assert len(json.dumps(draw(sweep, name).plain())) < 60_000


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_absent_or_drawn_when_only_one_method_ran(alone: Table, name: str) -> None:
    drawing = figures()[name].draw(alone)
    if drawing is not None:
        go.Figure(drawing.plain())


def test_bars_are_the_ratios_to_the_baseline_and_it_is_named(sweep: Table) -> None:
    drawing = draw(sweep, "latency_against_dense")
    bars = dict(zip(drawing.data[0]["y"], drawing.data[0]["x"], strict=True))
    assert bars["starc · clustered"] == pytest.approx(0.25)
    assert bars["topk · sequential"] == pytest.approx(0.5)
    assert "dense · sequential" not in bars
    assert drawing.layout["annotations"][0]["text"] == "dense"
    assert drawing.layout["shapes"][0]["x0"] == 1.0


def test_against_token_wise_the_baseline_is_exact_top_k(sweep: Table) -> None:
    drawing = draw(sweep, "energy_against_topk")
    bars = dict(zip(drawing.data[0]["y"], drawing.data[0]["x"], strict=True))
    assert bars["starc · clustered"] == pytest.approx(0.5)
    assert drawing.layout["annotations"][0]["text"] == "exact top-k"


def test_the_same_policy_has_the_same_colour_everywhere(sweep: Table) -> None:
    starc = set()
    for name in figures():
        for trace in draw(sweep, name).data:
            if str(trace.get("name", "")).startswith("starc") and trace["type"] != "heatmap":
                starc.add(
                    trace.get("fillcolor")
                    or trace["marker" if "marker" in trace else "line"]["color"]
                )
    assert starc == {colour("starc")}


def test_a_policy_never_seen_before_keeps_its_colour() -> None:
    assert colour("brand_new") == colour("brand_new")


def test_colours_stay_apart_with_every_kind_of_colour_vision() -> None:
    """Simulate dichromats (Vienot, Brettel, Mollon 1999) and compare the main five in CIE Lab."""
    for matrix in (
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
        ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    ):
        seen = [
            _lab(_COLOURS[name], matrix) for name in ("dense", "topk", "sparq", "quest", "starc")
        ]
        for place, one in enumerate(seen):
            for other in seen[place + 1 :]:
                assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 15


def _lab(text: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    linear = [(int(text[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    red, green, blue = (
        max(0.0, sum(a * b for a, b in zip(row, linear, strict=True))) for row in matrix
    )
    x = 0.4124 * red + 0.3576 * green + 0.1805 * blue
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = 0.0193 * red + 0.1192 * green + 0.9505 * blue
    fx, fy, fz = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x / 0.9505, y, z / 1.089)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def test_parts_of_a_stack_add_up_to_the_whole(sweep: Table) -> None:
    drawing = draw(sweep, "energy_by_part")
    table = at(sweep.narrowed(policy_layers=True), settings(sweep)[0])
    whole = table.measured().filter(policy="starc")["energy"].item()
    place = drawing.data[0]["y"].index("starc · clustered")
    parts = sum(trace["x"][place] for trace in drawing.data)
    unit = re.findall(r"\((.*?)\)", drawing.layout["xaxis"]["title"]["text"])[-1]
    assert parts * {"nJ": 1e3, "µJ": 1e6}[unit] == pytest.approx(whole)


def test_parts_that_are_not_known_are_named_and_not_drawn_as_zero(sweep: Table) -> None:
    drawing = draw(sweep, "energy_by_part")
    assert "refresh" in drawing.layout["annotations"][0]["text"]
    assert "refresh" not in [trace["name"] for trace in drawing.data]


def test_the_time_of_a_step_is_its_phases_and_the_work_beside_them(sweep: Table) -> None:
    drawing = draw(sweep, "latency_by_phase")
    names = [trace["name"] for trace in drawing.data]
    assert names == ["score", "softmax", "context", "move", "scoring", "clustering", "remap"]
    place = drawing.data[0]["y"].index("starc · clustered")
    assert [trace["x"][place] for trace in drawing.data[4:]] == [0.02, 0.008, 0.004]


def test_two_layouts_of_one_policy_are_told_apart_without_colour() -> None:
    from analysis.figures._style import dash, pattern, symbol

    for style in (dash, pattern, lambda layout: symbol("starc", layout)):
        assert style("clustered") != style("sequential")


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    points = pl.DataFrame({"cost": [1.0, 0.5, 0.6, 0.2], "recall": [1.0, 0.9, 0.8, 0.4]})
    front = pareto_front(points, "recall", "higher")
    assert front["cost"].to_list() == [0.2, 0.5, 1.0]
    front = pareto_front(points, "recall", "lower")
    assert front["cost"].to_list() == [0.2]


def test_a_pareto_front_never_falls() -> None:
    points = pl.DataFrame({"cost": [3.0, 1.0, 1.0, 2.0], "recall": [0.5, 0.5, 0.4, 0.9]})
    recall = pareto_front(points, "recall", "higher")["recall"].to_list()
    assert all(left < right for left, right in pairwise(recall))


def test_latency_follows_the_context_step_by_step(sweep: Table) -> None:
    drawing = draw(sweep, "latency_by_context")
    dense = next(trace for trace in drawing.data if trace["name"].startswith("dense"))
    assert dense["x"] == list(range(513, 529))
    assert dense["y"][0] == pytest.approx(2 * 11 * 513 / 1000)


def test_one_budget_draws_no_line_over_budgets(load: Load) -> None:
    table = load()
    assert figures()["latency_by_budget"].draw(table) is None


def test_sensitivity_is_drawn_over_the_one_parameter_that_differs(sweep: Table) -> None:
    drawing = draw(sweep, "sensitivity_energy")
    assert drawing.layout["xaxis"]["title"]["text"] == "energy.activation_pj (pJ)"
    assert drawing.data[0]["x"] == [900.0, 901.0]


def test_the_bank_map_holds_the_summed_loads(sweep: Table) -> None:
    drawing = draw(sweep, "banks_channel_lane")
    shown = next(trace for trace in drawing.data if trace["visible"])
    assert shown["z"] == [[2.0] * 8 + [6.0] * 8] * 2
    assert len(drawing.layout["updatemenus"][0]["buttons"]) == 5


def test_lane_loads_are_drawn_over_their_mean(sweep: Table) -> None:
    line = draw(sweep, "lane_distribution").data[0]
    assert set(line["x"]) == {0.5, 1.5}
    assert line["y"][-1] == 1.0


def test_traces_of_one_model_make_one_line_over_contexts(make: Callable[..., Path]) -> None:
    folders = [make("a", trace="short"), make("b", trace="long", scale=2.0)]
    table = tidy(open_results(folders))
    drawing = draw(table, "latency_by_context")
    assert len(drawing.data) == 5
    assert len(drawing.data[0]["x"]) == 2 * 16


def test_over_fetch_is_drawn_as_quantiles(sweep: Table) -> None:
    drawing = draw(sweep, "over_fetch_distribution")
    assert {len(trace["x"]) for trace in drawing.data} == {101}
    assert set(drawing.data[0]["x"]) == {1.5}


@pytest.mark.parametrize(
    ("largest", "unit", "expected"),
    [
        (999.0, "ns", (1.0, "ns")),
        (2e4, "ns", (1e3, "µs")),
        (3e6, "pJ", (1e6, "µJ")),
        (0.5, "ratio", (1, "ratio")),
    ],
)
def test_units_grow_with_the_values(largest: float, unit: str, expected: tuple[float, str]) -> None:
    assert scaled([largest, None], unit) == expected


def test_an_axis_title_carries_its_unit() -> None:
    assert axis_title("Latency", "µs") == "Latency (µs)"


def test_accuracy_stands_against_cost_with_dense_as_the_line(sweep: Table) -> None:
    drawing = draw(sweep, "perplexity_against_latency")
    curves = {trace["name"]: trace for trace in drawing.data}
    assert "Pareto front" in curves
    assert not any(name.startswith("dense") for name in curves)
    assert sweep.accuracy is not None
    known = {row["policy"]: row for row in sweep.accuracy.rows(named=True)}
    for name, curve in curves.items():
        if name != "Pareto front":
            assert len(curve["y"]) == 2, "one point a budget"
            assert curve["error_y"]["array"] == [2, 2]
            assert known[name.split(" ")[0].split("@")[0]]["value"] in curve["y"]
    assert drawing.layout["shapes"][0]["y0"] == 0, "what dense reaches"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"model": "gpt"}, "it is of the model gpt and the results of reference"),
        ({"layers": 4}, "the model has 4 layers and the results hold 3 of them"),
        ({"dense_layers": 2}, "its first 2 layers are dense and those of the results the first 1"),
    ],
)
def test_accuracy_of_another_run_is_refused(
    alone: Table, other: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        beside(alone, accuracy_of(alone, **other))


def test_accuracy_of_other_budgets_is_refused(alone: Table, sweep: Table) -> None:
    measures = accuracy_of(alone).measures.with_columns(budget=pl.lit("77"))
    other = Accuracy("acc", accuracy_of(alone).description, pl.DataFrame(), measures)
    with pytest.raises(UserError, match="no policy at a budget of it is in the results"):
        beside(alone, other)


def test_a_report_takes_accuracy_and_refuses_what_is_none(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    words = ["report", str(make()), "--out", str(page), "--accuracy", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert "holds no accuracy.json, so it is not an accuracy folder" in str(done.exception)
    assert not page.exists()
