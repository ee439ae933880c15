"""A trace of two head sizes, shared keys and values, and attention sinks, as a user replays it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.dashboard.inspection import inspect
from analysis.results.tidying import tidy
from pimreplay.hardware.reading import load
from pimreplay.mappings.attacc import Attacc
from pimreplay.results.reader import Results
from tracegen.trace.schema import Manifest
from tracegen.trace.writer import TraceWriter

HEADS, PROMPT, STEPS, SIZES = 4, 96, 4, (64, 128, 64)


@pytest.fixture
def unusual(tmp_path: Path) -> Path:
    """Return a trace whose third layer reads the first one's keys; the second's are longer."""
    manifest = Manifest(
        kind="synthetic",
        model="random vectors",
        layers=(0, 1, 2),
        q_heads=HEADS,
        kv_heads=2,
        head_dim=SIZES,
        dtype="float16",
        prompt_tokens=PROMPT,
        decode_steps=STEPS,
        softmax_scale=(0.2,) * 3,
        sliding_window=(None,) * 3,
        kv_layer=(0, 1, 0),
        sink_logit=((1.0, 2.0, 3.0, 4.0),) * 3,
        prompt_queries=64,
        has_prompt_attention=True,
    )
    rng = np.random.default_rng(0)
    sums = rng.random((HEADS, PROMPT), dtype=np.float32)
    with TraceWriter(tmp_path / "trace", manifest) as writer:
        for layer, size in enumerate(SIZES):
            keys, values, queries, prompt = (
                rng.standard_normal((heads, rows, size)).astype(np.float16)
                for heads, rows in ((2, 100), (2, 100), (HEADS, STEPS), (HEADS, 64))
            )
            writer.write_layer(layer, keys, values, queries, None, prompt, (sums, sums))
        writer.write_tokens()
    return tmp_path / "trace"


def test_every_layer_is_replayed_in_its_own_size(pimreplay, unusual, tmp_path):
    policies = ("dense", "topk", "sparq", "h2o", "retroinfer:local_tokens=8")
    answer = pimreplay(
        "run", unusual, *(word for one in policies for word in ("--policy", one)),
        "--budget", "32", "--dense-layers", "0", "--workers", "0", "--out", tmp_path / "results",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = Results.open(tmp_path / "results")
    assert run.config["traces"][0]["head_dim"] == list(SIZES)
    steps = run.table("steps").sort("layer", "kv_head", "step")
    dense = steps.filter(policy="dense")
    time = [dense.filter(layer=layer)["latency_ns"].to_numpy() for layer in range(3)]
    assert (time[0] == time[2]).all()
    assert (time[1] > time[0]).all()
    assert dense["attention_mass_ratio"].unique().to_list() == [1.0]
    some = steps.filter(pl.col("policy") != "dense")["attention_mass_ratio"]
    assert 0 < some.min() < some.max() < 1

    # the shared keys and values take their place once
    hardware = load("attacc_hbm3_bank")
    taken = sum(Attacc(hardware, size, 16).kv_head_bytes(PROMPT + STEPS) for size in (64, 128))
    channel_bytes = hardware.organisation.capacity_bytes // hardware.organisation.channels
    ratio = run.config["hardware"][0]["occupancy"]["trace"]["channel_ratio"]
    assert ratio == pytest.approx(taken / channel_bytes)

    words = ("--policy", "sparq", "--budget", "32", "--layer", "1", "--step", "0")
    assert pimreplay("explain", unusual, *words).code == 0
    rows = tidy([run]).configurations
    for layer, size in enumerate(SIZES):
        row = rows.filter(policy="topk").row(0, named=True)
        shown = inspect(run, row, layer=layer, kv_head=0, q_head=0, step=0)
        assert shown.block_tokens == hardware.geometry(size).block_tokens
        figures = steps.filter(policy="topk", layer=layer, kv_head=0, step=0)
        other = inspect(run, row, layer=layer, kv_head=0, q_head=1, step=0)
        mass = (shown.mass_kept_ratio + other.mass_kept_ratio) / 2
        assert figures["attention_mass_ratio"][0] == pytest.approx(mass, abs=1e-6)
