"""Results folders made by hand: small, with round numbers that a reader can check."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

METHODS = (
    ("dense", "sequential", 1.0),
    ("topk", "sequential", 0.5),
    ("sparq", "sequential", 0.6),
    ("quest", "sequential", 0.2),
    ("starc", "clustered", 0.25),
)


def make_results(
    folder: Path,
    budgets: tuple[str, ...] = ("256",),
    hardware: tuple[str, ...] = ("attacc_hbm3_bank",),
    methods: tuple[tuple[str, str, float], ...] = METHODS,
    layers: int = 3,
    kv_heads: int = 2,
    steps: int = 16,
    prompt_tokens: int = 512,
    trace: str = "needle",
    seed: int = 0,
    schema_version: int = 1,
    kind: str = "captured",
) -> Path:
    """Write a results folder; the cost of a method is `share` of dense, layer 0 is kept dense."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    rows, layer_rows, lane_rows = [], [], []
    for policy, layout, share in methods:
        for machine_index, machine in enumerate(hardware):
            for budget in budgets:
                setting = {
                    "trace": trace,
                    "model": "reference",
                    "trace_kind": kind,
                    "policy": policy,
                    "policy_parameters": "",
                    "layout": layout,
                    "hardware": machine,
                    "budget": budget,
                }
                for layer in range(layers):
                    dense_layer = layer == 0
                    part = 1.0 if dense_layer else share
                    slow = 1.0 + 0.5 * machine_index
                    for step in range(steps):
                        visible = prompt_tokens + step + 1
                        for head in range(kv_heads):
                            latency = 10.0 * visible * part * slow * (1 + 0.1 * head)
                            selected = float(visible if part == 1.0 else min(int(budget), visible))
                            rows.append(
                                setting
                                | {
                                    "dense_layer": dense_layer,
                                    "layer": layer,
                                    "kv_head": head,
                                    "step": step,
                                    "visible_tokens": visible,
                                    "selected_tokens": selected,
                                    "union_tokens": selected * 1.2,
                                    "q_head_blocks": visible * part / 16,
                                    "blocks": int(visible * part / 16) + 1,
                                    "dense_blocks": visible // 16 + 1,
                                    "key_rows": 3,
                                    "value_rows": 4,
                                    "activations": int(448 * part),
                                    "cycles": int(latency),
                                    "latency_ns": latency,
                                    "score_ns": 0.4 * latency,
                                    "softmax_ns": 0.1 * latency,
                                    "context_ns": 0.4 * latency,
                                    "move_ns": 0.1 * latency,
                                    "scoring_ns": 5.0 if policy in ("quest", "starc") else 0.0,
                                    "clustering_ns": 2.0 if policy == "starc" else 0.0,
                                    "remap_ns": 1.0 if policy == "starc" else 0.0,
                                    "energy_pj": 100.0 * latency,
                                    "activation_pj": 30.0 * latency,
                                    "cell_pj": 30.0 * latency,
                                    "movement_pj": 20.0 * latency,
                                    "mac_pj": 10.0 * latency,
                                    "softmax_pj": 5.0 * latency,
                                    "background_pj": 5.0 * latency,
                                    "refresh_pj": None,
                                    "scoring_pj": 0.0,
                                    "clustering_pj": 0.0,
                                    "remap_pj": 0.0,
                                    "lane_utilisation_ratio": min(1.0, selected / visible / part),
                                    "overfetch_ratio": max(1.0, visible * part / selected),
                                    "attention_mass_ratio": 1.0
                                    if part == 1.0
                                    else 0.9 - 0.1 * share + 0.01 * random.random(),
                                    "topk_overlap_ratio": 1.0 if part == 1.0 else 1 - share,
                                    "output_error_ratio": 0.0 if part == 1.0 else share / 10,
                                    "lane_tokens": [10 + lane for lane in range(16)],
                                }
                            )
                        layer_rows.append(
                            setting
                            | {
                                "layer": layer,
                                "step": step,
                                "latency_ns": 11.0 * visible * part * slow,
                                "energy_pj": 2100.0 * visible * part * slow,
                                "busiest_channel_ns": 11.0 * visible * part * slow,
                                "mean_channel_ns": 10.5 * visible * part * slow,
                            }
                        )
                    lane_rows += [
                        setting
                        | {"layer": layer, "channel": head, "lane": lane, "tokens": 100 + lane}
                        for head in range(kv_heads)
                        for lane in range(16)
                    ]
    pl.DataFrame(rows, schema_overrides={"refresh_pj": pl.Float64}).write_parquet(
        folder / "steps.parquet"
    )
    pl.DataFrame(layer_rows).write_parquet(folder / "layers.parquet")
    pl.DataFrame(lane_rows).write_parquet(folder / "channels.parquet")
    config = {
        "schema_version": schema_version,
        "configuration_sha256": "cd" * 32,
        "traces": [{"name": trace, "path": f"traces/{trace}", "hash": sha256(trace.encode()).hexdigest(), "kind": kind}],
        "configuration": {"fidelity": "analytic", "dense_layers": 1},
        "hardware": [
            {
                "name": name,
                "assumed": ["timing: scaled from HBM2"],
                "values": {"energy": {"activation_pj": 901.0 + place}},
            }
            for place, name in enumerate(hardware)
        ],
        "versions": {"pimreplay": "0.1.0"},
    }
    (folder / "run.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path / "results")
