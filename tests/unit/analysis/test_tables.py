from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis.results.baselines import relative
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results

Load = Callable[..., Table]
MEAN_VISIBLE = 512 + 1 + 15 / 2


def value(table: Table, policy: str, name: str) -> float:
    return table.measured().filter(policy=policy)[name].item()


def test_a_decode_step_takes_the_sum_of_its_layers(load: Load) -> None:
    assert value(load(), "dense", "latency") == pytest.approx(3 * 11 * MEAN_VISIBLE)


def test_a_layer_latency_is_not_counted_once_per_kv_head(load: Load) -> None:
    layer = load().measured("layer").filter(policy="dense", layer=1)
    assert layer["latency"].item() == pytest.approx(11 * MEAN_VISIBLE)


def test_energy_is_summed_over_kv_heads_and_layers(load: Load) -> None:
    expected = 3 * 100 * (10 + 11) * MEAN_VISIBLE
    assert value(load(), "dense", "energy") == pytest.approx(expected)


def test_ratios_are_averaged_and_never_summed(load: Load) -> None:
    table = load()
    assert value(table, "starc", "attention_mass") == pytest.approx((1 + 0.975 + 0.975) / 3)
    assert value(table.narrowed(policy_layers=True), "starc", "attention_mass") == 0.975


def test_over_fetch_is_the_ratio_of_the_sums(load: Load) -> None:
    table = load().narrowed(policy_layers=True)
    assert value(table, "quest", "over_fetch") == pytest.approx(1.5)


def test_an_unknown_part_is_null_and_never_zero(load: Load) -> None:
    assert value(load(), "dense", "energy_refresh") is None


def test_overheads_are_unknown_as_soon_as_one_of_them_is(load: Load) -> None:
    table = load()
    assert value(table, "starc", "overhead_latency") == pytest.approx(2 * 2 * 8.0)
    rows = table.tidy.heads.with_columns(remap_ns=pl.lit(None, dtype=pl.Float64))
    from dataclasses import replace

    unknown = replace(table, tidy=replace(table.tidy, heads=rows), _cache={})
    assert value(unknown, "starc", "overhead_latency") is None


def test_lane_balance_follows_the_loads(load: Load) -> None:
    table = load()
    assert value(table, "dense", "balance_lanes") == pytest.approx(3 / 2)
    assert value(table, "dense", "balance_gini") == pytest.approx(0.25)
    assert value(table, "dense", "balance_channels") == pytest.approx(1.1)


def test_layers_kept_dense_are_left_out_for_the_dense_baseline_too(load: Load) -> None:
    sparse = load().narrowed(policy_layers=True).charging("attention")
    assert sorted(sparse.rows["layer"].unique()) == [1, 2]
    ratio = relative(sparse.measured(), "latency", "dense", "ratio")
    assert ratio.filter(policy="starc")["ratio"].item() == pytest.approx(0.25)


def test_a_baseline_is_taken_at_the_same_budget_and_device(load: Load) -> None:
    table = load(budgets=("128", "256"), hardware=("a", "b")).narrowed(policy_layers=True)
    ratios = relative(table.measured(), "latency", "topk", "ratio").filter(policy="quest")
    assert ratios["ratio"].to_list() == pytest.approx([0.4] * 4)


def test_a_missing_baseline_is_null(load: Load) -> None:
    table = load(policies=("quest", "starc"))
    ratios = relative(table.measured(), "latency", "dense", "ratio")
    assert ratios["ratio"].to_list() == [None, None]


@pytest.mark.parametrize("rows", [10_000, 60])
def test_windows_of_steps_do_not_change_the_means(make: Callable[..., Path], rows: int) -> None:
    table = tidy(open_results([make()]), rows=rows)
    assert table.window_steps == (1 if rows == 10_000 else 8)
    assert value(table, "dense", "energy") == pytest.approx(3 * 2100 * MEAN_VISIBLE)


def test_a_range_of_steps_is_cut_in_whole_windows(load: Load) -> None:
    table = load().narrowed(steps=(4, 7))
    assert sorted(table.rows["window"].unique()) == [4, 5, 6, 7]
    assert value(table, "dense", "latency") == pytest.approx(3 * 11 * (512 + 1 + 5.5))


def test_one_kv_head_is_kept_alone(load: Load) -> None:
    table = load().narrowed(kv_heads=[0])
    assert value(table, "dense", "energy") == pytest.approx(3 * 1000 * MEAN_VISIBLE)


def test_a_ratio_budget_is_given_in_tokens_too(load: Load) -> None:
    from analysis.results.tidying import _with_budget_tokens

    table = load()
    described = table.configurations.with_columns(budget=pl.lit("10%"))
    tokens = _with_budget_tokens(described, table.rows, table.runs)["budget_tokens"]
    assert tokens.to_list() == pytest.approx([0.1 * MEAN_VISIBLE] * 5)


def test_parameters_are_in_the_label_only_where_they_tell_methods_apart(
    make: Callable[..., Path],
) -> None:
    folder = make(policies=("dense", "quest", "quest:page_tokens=32", "starc"))
    labels = tidy(open_results([folder])).configurations["method"].to_list()
    assert "quest page 32" in labels
    assert "starc" in labels


def test_a_baseline_is_one_on_the_same_layout_or_at_least_on_the_same_channels() -> None:
    same = {"run": "r", "trace": "t", "hardware": "h", "budget": "8", "policy_parameters": ""}
    rows = [
        ("dense", "sequential", 2, 100.0),
        ("dense", "clustered", 2, 90.0),
        ("dense", "token_interleaved", 16, 12.0),
        ("starc", "clustered", 2, 45.0),
        ("quest", "sequential", 2, 50.0),
        ("quest", "random", 2, 60.0),
        ("quest", "token_interleaved", 16, 6.0),
        ("quest", "elsewhere", 8, 1.0),
    ]
    measured = pl.DataFrame(
        [
            {
                **same,
                "configuration": place,
                "rank": place,
                "policy": policy,
                "layout": layout,
                "method": f"{policy} {layout}",
                "channels": channels,
                "latency": latency,
            }
            for place, (policy, layout, channels, latency) in enumerate(rows)
        ]
    )
    found = relative(measured, "latency", "dense", "ratio").filter(pl.col("policy") != "dense")
    assert found.select("method", "ratio", "ratio_baseline").rows() == [
        ("starc clustered", 0.5, "dense clustered"),
        ("quest sequential", 0.5, "dense sequential"),
        ("quest random", 0.6, "dense sequential"),
        ("quest token_interleaved", 0.5, "dense token_interleaved"),
        ("quest elsewhere", None, None),
    ]
