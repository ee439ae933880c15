"""What a step is charged with, against sums by hand over the results themselves."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis.results.charge import CHARGES
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError

Load = Callable[..., Table]


def value(table: Table, charge: str, name: str) -> float:
    return table.charging(charge).measured().filter(policy="starc")[name].item()


def test_each_charge_adds_to_the_one_before(load: Load) -> None:
    table = load()
    latency = [value(table, charge, "latency") for charge in CHARGES]
    # two of three layers have overheads: 5 ns scoring, 1 ns remap, 2 KV heads of 2 ns clustering
    assert [after - latency[0] for after in latency] == pytest.approx([0, 10, 20])
    busy = [value(table, charge, "head_latency") for charge in CHARGES]
    assert [after - busy[0] for after in busy] == pytest.approx([0, 20, 32])


def test_a_charge_holds_attention_and_its_own_overheads() -> None:
    amounts = ["cell_pj", "scoring_ns", "scoring_pj", "clustering_ns", "remap_pj"]
    assert {
        name: [one for one in amounts if charge.holds([one])] for name, charge in CHARGES.items()
    } == {
        "attention": amounts[:1],
        "scoring": amounts[:3],
        "all": amounts,
    }
    assert not CHARGES["scoring"].holds(["cell_pj", "remap_pj"])
    assert CHARGES["attention"].holds([])


def test_everything_is_charged_unless_asked_otherwise(load: Load) -> None:
    table = load()
    assert table.charged == "all"
    assert value(table, table.charged, "latency") > value(table, "attention", "latency")


def test_an_unknown_charge_names_the_known_ones(load: Load) -> None:
    with pytest.raises(UserError, match="--cost 'everything' is unknown; known: all, attention"):
        load().charging("everything")


def test_of_a_real_replay_it_is_what_its_kv_heads_say(replayed: Path) -> None:
    """Each KV head has a channel of its own: its scoring and remap are added to its attention."""
    table = tidy(open_results([replayed]))
    steps = pl.read_parquet(replayed / "steps.parquet").filter(pl.col("policy") == "starc")
    per_head = steps.with_columns(
        own=pl.col("latency_ns") + pl.col("scoring_ns") + pl.col("remap_ns")
    )
    layers = per_head.group_by("layer", "step").agg(
        latency=pl.col("own").max() + pl.col("clustering_ns").sum()
    )
    by_step = layers.group_by("step").agg(pl.col("latency").sum())
    assert value(table, "all", "latency") == pytest.approx(by_step["latency"].mean())
    energy = sum(steps[f"{name}_pj"] for name in ("energy", "scoring", "clustering", "remap"))
    assert value(table, "all", "energy") == pytest.approx(energy.sum() / steps["step"].n_unique())
    assert value(table, "all", "latency") > value(table, "scoring", "latency")
