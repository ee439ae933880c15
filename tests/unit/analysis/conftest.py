"""Results folders made by hand: small, with round numbers that a reader can check."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis.results.accuracy import Accuracy
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from pimreplay.results.seal import sealed, unsealed
from pimreplay.results.writer import ResultsWriter
from tracegen.trace.store import Trace

METHODS = {
    "dense": ("sequential", 1.0),
    "topk": ("sequential", 0.5),
    "sparq": ("sequential", 0.6),
    "quest": ("sequential", 0.2),
    "starc": ("clustered", 0.25),
}
"""Layout, and cost as a share of dense."""

LAYERS, KV_HEADS, STEPS, PROMPT_TOKENS = 3, 2, 16, 512


def make_results(
    folder: Path,
    budgets: tuple[str, ...] = ("256",),
    hardware: tuple[str, ...] = ("attacc_hbm3_bank",),
    policies: tuple[str, ...] = tuple(METHODS),
    trace: str = "needle",
    trace_path: str = "traces/needle",
    trace_hash: str | None = None,
    kind: str = "captured",
    model: str = "reference",
    scale: float = 1.0,
    **configuration: Any,
) -> Path:
    """Write results in which everything costs its policy's share of dense; layer 0 stays dense."""
    with ResultsWriter(folder) as writer:
        for machine_place, machine in enumerate(hardware):
            for budget in budgets:
                for policy in policies:
                    name, _, parameters = policy.partition(":")
                    layout, share = METHODS[name]
                    key = {
                        "trace": trace,
                        "model": model,
                        "trace_kind": kind,
                        "policy": name,
                        "policy_parameters": parameters,
                        "layout": layout,
                        "hardware": machine,
                        "budget": budget,
                    }
                    slow = scale * (1 + 0.5 * machine_place)
                    point = {"point": ["/".join(key.values())], "status": "ok", "error": None}
                    writer.write("points", key | point)
                    for layer in range(LAYERS):
                        _write_layer(writer, key, layer, share, slow)
        writer.finish(
            {
                "configuration_sha256": "cd" * 32,
                "traces": [
                    {
                        "name": trace,
                        "path": trace_path,
                        "hash": trace_hash or sha256(trace.encode()).hexdigest(),
                        "kind": kind,
                        "model": model,
                        "layers": list(range(LAYERS)),
                        "kv_heads": KV_HEADS,
                        "decode_steps": STEPS,
                    }
                ],
                "configuration": {
                    "policies": [_named(policy) for policy in policies],
                    "budgets": list(budgets),
                    "hardware": list(hardware),
                    "dense_layers": 1,
                    "fidelity": "analytic",
                    "layers": None,
                    "seed": 0,
                    **configuration,
                },
                "hardware": [
                    {
                        "name": name,
                        "channels": 4,
                        "assumed": ["timing: scaled from HBM2"],
                        "geometry": {},
                        "values": {"energy": {"activation_pj": 900.0 * scale + place}},
                    }
                    for place, name in enumerate(hardware)
                ],
                "versions": {"pimreplay": "0.1.0"},
            }
        )
    return folder


def _named(policy: str) -> dict[str, str]:
    name, _, parameters = policy.partition(":")
    return {"policy": name, "parameters": parameters, "layout": METHODS[name][0]}


def _write_layer(
    writer: ResultsWriter, key: dict[str, str], layer: int, share: float, slow: float
) -> None:
    part = 1.0 if layer == 0 else share
    step = np.tile(np.arange(STEPS), KV_HEADS)
    head = np.repeat(np.arange(KV_HEADS), STEPS)
    visible = PROMPT_TOKENS + step + 1
    latency = 10.0 * visible * part * slow * (1 + 0.1 * head)
    selected = visible if part == 1.0 else np.minimum(int(key["budget"]), visible)
    clusters = key["policy"] == "starc" and layer > 0
    where = key | {"dense_layer": layer == 0, "layer": layer}
    writer.write(
        "steps",
        where
        | {
            "kv_head": head,
            "step": step,
            "visible_tokens": visible,
            "selected_tokens": selected.astype(float),
            "blocks": (visible * part / 16).astype(int) + 1,
            "activations": np.full(len(step), int(448 * part)),
            "cycles": latency.astype(int),
            "latency_ns": latency,
            "score_ns": 0.4 * latency,
            "softmax_ns": 0.1 * latency,
            "context_ns": 0.4 * latency,
            "move_ns": 0.1 * latency,
            "scoring_ns": np.full(len(step), 5.0 if clusters else 0.0),
            "clustering_ns": np.full(len(step), 2.0 if clusters else 0.0),
            "remap_ns": np.full(len(step), 1.0 if clusters else 0.0),
            "energy_pj": 100.0 * latency,
            "activation_pj": 60.0 * latency,
            "cell_pj": 40.0 * latency,
            "scoring_pj": np.zeros(len(step)),
            "clustering_pj": np.zeros(len(step)),
            "remap_pj": np.zeros(len(step)),
            "lane_utilisation_ratio": np.full(len(step), 0.75),
            "overfetch_ratio": np.full(len(step), 1.0 if part == 1.0 else 1.5),
            "attention_mass_ratio": np.full(len(step), 1.0 if part == 1.0 else 1 - share / 10),
            "topk_overlap_ratio": np.full(len(step), 1.0 if part == 1.0 else 1 - share),
            "output_error_ratio": np.full(len(step), 0.0 if part == 1.0 else share / 5),
            "lane_tokens": np.tile(np.arange(16, dtype=np.int32), (len(step), 1)),
        },
    )
    beside = 5.0 if clusters else 0.0  # a KV head lies in a channel of its own
    all_beside = beside + (1.0 + KV_HEADS * 2.0 if clusters else 0.0)
    seen = PROMPT_TOKENS + np.arange(STEPS) + 1
    writer.write(
        "layers",
        where
        | {
            "step": np.arange(STEPS),
            "latency_ns": 11.0 * seen * part * slow,
            "latency_with_scoring_ns": 11.0 * seen * part * slow + beside,
            "latency_with_overheads_ns": 11.0 * seen * part * slow + all_beside,
            "energy_pj": 2100.0 * seen * part * slow,
            "busiest_channel_ns": 11.0 * seen * part * slow,
            "mean_channel_ns": 10.0 * seen * part * slow,
        },
    )
    lane = np.arange(16 * KV_HEADS)
    writer.write(
        "channels",
        where | {"channel": lane // 16, "lane": lane % 16, "tokens": np.where(lane % 16 < 8, 1, 3)},
    )


def _reseal(folder: Path, version: int | None = None, **tables: pl.DataFrame) -> None:
    config = json.loads((folder / "run.json").read_text())
    config["schema_version"] = version or config["schema_version"]
    seals = config["tables"]
    for name, frame in tables.items():
        file = folder / f"{name}.parquet"
        frame.write_parquet(file)
        seals[name] = {"rows": len(frame), "sha256": sha256(file.read_bytes()).hexdigest()}
    (folder / "run.json").write_text(json.dumps(sealed(unsealed(config), seals)))


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Return a function that replaces tables and seals the folder anew, as a forger would."""
    return _reseal


@pytest.fixture
def make_old(make: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that writes results as schema 1 was: without any checksum."""

    def made(**settings: Any) -> Path:
        folder = make(**settings)
        config = unsealed(json.loads((folder / "run.json").read_text()))
        (folder / "run.json").write_text(json.dumps(config | {"schema_version": 1}))
        return folder

    return made


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a results folder for tests that only read it."""

    def made(**settings: Any) -> Path:
        return make_results(tmp_path_factory.mktemp("once") / "results", **settings)

    return made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a results folder by name."""

    def named(name: str = "results", **settings: Any) -> Path:
        return make_results(tmp_path / name, **settings)

    return named


@pytest.fixture
def load(make: Callable[..., Path]) -> Callable[..., Table]:
    """Return a function that writes results and returns their tidy table."""

    def loaded(**settings: Any) -> Table:
        return tidy(open_results([make(**settings)]))

    return loaded


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory, make_trace: Callable[..., Trace]) -> Path:
    """Return results of a real replay, over a small trace whose tokens have text."""
    from typer.testing import CliRunner

    from pimreplay.cli import app

    folder = tmp_path_factory.mktemp("replayed")
    shape = {"head_dim": 64, "prompt_tokens": 300, "decode_steps": 12}
    words = [f"word{token} " for token in range(300 + 12)]
    make_trace(folder / "words", **shape, kind="imported", spread=2.0, text=words)
    policies = [part for name in ("dense", "topk", "quest", "starc") for part in ("--policy", name)]
    arguments = ["run", str(folder / "words"), *policies, "--budget", "64", "--dense-layers", "1"]
    out = ["--hardware", "attacc_hbm3_bank", "--out", str(folder / "results")]
    result = CliRunner().invoke(app, [*arguments, *out], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "results"


@pytest.fixture(scope="session")
def accuracy_of() -> Callable[..., Accuracy]:
    """Return a function that makes up the accuracy of every method and budget of a table."""

    def made(table: Table, **description: Any) -> Accuracy:
        """Return made-up accuracy of every method and budget: ten and the number of its row."""
        named = pl.concat_str("policy", "policy_parameters", separator=":").str.strip_chars_end(":")
        cells = (
            table.configurations.filter(pl.col("policy") != "dense")
            .select(policy=named, budget=pl.col("budget"))
            .unique(maintain_order=True)
        )
        cells = pl.concat([pl.DataFrame({"policy": ["dense"], "budget": ["all"]}), cells])
        values = pl.Series("value", range(10, 10 + len(cells)), dtype=pl.Float64)
        numbered = cells.with_columns(values, low=values - 1, high=values + 2)
        measures = pl.concat(
            numbered.with_columns(task=pl.lit("t"), measure=pl.lit(one))
            for one in ("perplexity", "ruler_score_ratio")
        )
        known = {"model": "reference", "layers": 3, "dense_layers": 1} | description
        return Accuracy("acc", known, pl.DataFrame(), measures)

    return made
