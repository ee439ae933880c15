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
from analysis.figures._style import axis_title
from analysis.figures.pareto import pareto_front
from analysis.metrics import metrics
from analysis.results.accuracy import Accuracy, beside
from analysis.results.magnitudes import scaled
from analysis.results.summary import at, settings
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError

METHODS = ("dense", "topk", "sparq", "quest", "starc")
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
def sweep(make_once: Callable[..., Path], accuracy_of: Callable[..., Accuracy]) -> Table:
    settings = {"budgets": ("128", "256"), "hardware": ("attacc_hbm3_bank", "attacc_hbm3_bg")}
    table = tidy(open_results([make_once(**settings)])).charging("attention")
    return beside(table, accuracy_of(table))


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
    assert bars["starc"] == pytest.approx(0.25)
    assert bars["topk"] == pytest.approx(0.5)
    assert "dense" not in bars
    assert drawing.layout["annotations"][0]["text"] == "dense"
    assert drawing.layout["shapes"][0]["x0"] == 1.0


def test_against_token_wise_the_baseline_is_exact_top_k(sweep: Table) -> None:
    drawing = draw(sweep, "energy_against_topk")
    bars = dict(zip(drawing.data[0]["y"], drawing.data[0]["x"], strict=True))
    assert bars["starc"] == pytest.approx(0.5)
    assert drawing.layout["annotations"][0]["text"] == "exact top-k"


def test_a_method_has_the_same_colour_everywhere_and_no_other_has_it(sweep: Table) -> None:
    seen: dict[str, set[str]] = {}
    for name in figures():
        for trace in draw(sweep, name).data:
            if trace["type"] in ("scatter", "box") and trace["name"] in METHODS:
                part = trace["marker" if "marker" in trace else "line"]["color"]
                seen.setdefault(trace["name"], set()).add(trace.get("fillcolor") or part)
    assert {name: found for name, found in seen.items() if len(found) > 1} == {}
    assert len({next(iter(found)) for found in seen.values()}) == len(METHODS)


def test_parts_of_a_stack_add_up_to_the_whole(sweep: Table) -> None:
    drawing = draw(sweep, "energy_by_part")
    table = at(sweep.narrowed(policy_layers=True), settings(sweep)[0])
    whole = table.measured().filter(policy="starc")["energy"].item()
    place = drawing.data[0]["y"].index("starc")
    parts = sum(trace["x"][place] for trace in drawing.data)
    unit = re.findall(r"\((.*?)\)", drawing.layout["xaxis"]["title"]["text"])[-1]
    assert parts * {"nJ": 1e3, "µJ": 1e6}[unit] == pytest.approx(whole)


def test_parts_that_are_not_known_are_named_and_not_drawn_as_zero(sweep: Table) -> None:
    drawing = draw(sweep, "energy_by_part")
    assert "refresh" in drawing.layout["annotations"][0]["text"]
    assert "refresh" not in [trace["name"] for trace in drawing.data]


def test_the_time_of_a_step_is_its_phases_and_the_work_beside_them(sweep: Table) -> None:
    drawing = draw(sweep.charging("all"), "latency_by_phase")
    names = [trace["name"] for trace in drawing.data]
    assert names == ["score", "softmax", "context", "move", "scoring", "clustering", "remap"]
    place = drawing.data[0]["y"].index("starc")
    assert [trace["x"][place] for trace in drawing.data[4:]] == [0.02, 0.008, 0.004]
    alone = draw(sweep, "latency_by_phase")
    assert [trace["name"] for trace in alone.data] == names[:4]


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
    assert dense["x"] == list(range(514, 529))  # the first step pays for work on the prompt
    assert dense["y"][0] == pytest.approx(2 * 11 * 514 / 1000)


def test_one_budget_draws_no_line_over_budgets(load: Load) -> None:
    table = load()
    assert figures()["latency_by_budget"].draw(table) is None


def test_sensitivity_is_drawn_over_the_one_parameter_that_differs(sweep: Table) -> None:
    drawing = draw(sweep, "sensitivity_energy")
    assert drawing.layout["xaxis"]["title"]["text"] == "energy.activation_pj (pJ)"
    assert drawing.data[0]["x"] == [900.0, 901.0]


def test_the_bank_map_holds_the_summed_loads_and_says_which_channels_are_idle(
    sweep: Table,
) -> None:
    drawing = draw(sweep, "banks_channel_lane")
    shown = next(trace for trace in drawing.data if trace["visible"])
    assert shown["z"] == [[2.0] * 8 + [6.0] * 8] * 2 + [[None] * 16] * 2
    assert shown["y"] == ["0", "1", "2 idle", "3 idle"]
    assert len(drawing.layout["updatemenus"][0]["buttons"]) == 5


def test_a_map_of_many_rows_stays_on_the_page() -> None:
    from analysis.figures._style import map_height

    assert map_height(500) == map_height(5000) < 700


def test_every_method_has_a_map_of_its_layers_on_one_scale(sweep: Table) -> None:
    drawing = draw(sweep, "grid_attention_mass")
    assert [trace["name"] for trace in drawing.data] == list(METHODS)
    assert {trace["coloraxis"] for trace in drawing.data} == {"coloraxis"}
    quest = drawing.data[METHODS.index("quest")]
    assert quest["z"] == [[pytest.approx(0.98)] * 2] * 2
    assert (quest["x"], quest["y"]) == (["0", "1"], ["1", "2"])
    panels = [
        (
            tuple(drawing.layout[f"xaxis{one}"]["domain"]),
            tuple(drawing.layout[f"yaxis{one}"]["domain"]),
        )
        for one in ("", "2", "3", "4", "5")
    ]
    assert len(set(panels)) == 5


def test_work_on_the_prompt_is_paid_off_by_decoding() -> None:
    from analysis.figures.amortised import running_means

    class Once:
        def measured(self, *_: str, only: tuple[str, ...]) -> pl.DataFrame:
            one = {"configuration": [0] * 3, "method": ["m"] * 3, "rank": [0] * 3, "look": [0] * 3}
            steps = {"window": [0, 1, 2], "first_step": [0, 1, 2], "steps": [1, 1, 2]}
            return pl.DataFrame(one | steps | {"latency": [100.0, 10.0, 10.0]})

    means = running_means(Once(), "latency")  # type: ignore[arg-type]
    assert means["decoded"].to_list() == [1, 2, 4]
    assert means["mean"].to_list() == [100.0, 55.0, 32.5]


def test_devices_are_set_beside_dense_attention_on_the_same_device(sweep: Table) -> None:
    drawing = draw(sweep, "latency_by_device")
    assert [bars["name"] for bars in drawing.data] == ["attacc_hbm3_bank", "attacc_hbm3_bg"]
    for bars in drawing.data:
        ratios = dict(zip(bars["y"], bars["x"], strict=True))
        assert ratios == pytest.approx({"topk": 0.5, "sparq": 0.6, "quest": 0.2, "starc": 0.25})
    titles = [note["text"] for note in drawing.layout["annotations"] if "<b>" in note["text"]]
    assert "1.50\u00d7 attacc_hbm3_bank" in titles[1]


def test_devices_that_differ_in_capacity_alone_are_no_sweep_over_it() -> None:
    from types import SimpleNamespace

    from analysis.results.hardware import varied_parameter

    def run(**values: float) -> object:
        names = ("a", "b")
        hardware = [
            {"name": name, "values": {"organisation": {"capacity_bytes": 1 + place} | values}}
            for place, name in enumerate(names)
        ]
        return SimpleNamespace(config={"hardware": hardware})

    assert varied_parameter([run()], ("a", "b")) is None  # type: ignore[list-item]


def test_lane_loads_are_drawn_over_their_mean(sweep: Table) -> None:
    line = draw(sweep, "lane_distribution").data[0]
    assert set(line["x"]) == {0.5, 1.5}
    assert line["y"][-1] == 1.0


def test_traces_of_one_model_make_one_line_over_contexts(make: Callable[..., Path]) -> None:
    folders = [make("a", trace="short"), make("b", trace="long", scale=2.0)]
    table = tidy(open_results(folders))
    drawing = draw(table, "latency_by_context")
    assert len(drawing.data) == 5
    assert len(drawing.data[0]["x"]) == 2 * 15


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
    assert drawing.layout["shapes"][0]["y0"] == 10, "what dense reaches"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"model": "gpt"}, "it is of the model gpt and the results of reference"),
        ({"layers": 4}, "the model has 4 layers and the results hold 3 of them"),
        ({"dense_layers": 2}, "its first 2 layers are dense and those of the results the first 1"),
    ],
)
def test_accuracy_of_another_run_is_refused(
    alone: Table,
    other: dict[str, Any],
    sentence: str,
    accuracy_of: Callable[..., Accuracy],
) -> None:
    with pytest.raises(UserError, match=sentence):
        beside(alone, accuracy_of(alone, **other))


def test_accuracy_of_other_budgets_is_refused(
    alone: Table, accuracy_of: Callable[..., Accuracy]
) -> None:
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
