"""Time from a filter change to its answer, on the results of a sweep with a million rows.

    python benchmarks/dashboard.py [--rows 1000000]

The request goes through the dashboard's own server code, without a browser: reading the address,
filtering, aggregating, drawing every figure of the view, and writing the answer as JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.dashboard import OUTPUTS, make_app
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results

POLICIES = ("dense", "topk", "sparq", "quest", "starc", "h2o")
BUDGETS = ("256", "512", "1024", "2048")
HARDWARE = tuple(f"device_{number}" for number in range(6))
TARGET_MS = 300.0


def make_sweep(folder: Path, rows: int) -> int:
    """Write results of every column that the dashboard reads, with random values."""
    from pimreplay.results.writer import ResultsWriter

    layers, kv_heads = 8, 4
    points = [(p, b, h) for p in POLICIES for b in BUDGETS for h in HARDWARE]
    steps = rows // (len(points) * layers * kv_heads)
    random = np.random.default_rng(0)
    step = np.tile(np.arange(steps, dtype=np.int32), kv_heads)
    head = np.repeat(np.arange(kv_heads, dtype=np.int32), steps)
    with ResultsWriter(folder) as writer:
        for policy, budget, hardware in points:
            key = {
                "trace": "synthetic-speed",
                "model": "none",
                "trace_kind": "synthetic",
                "policy": policy,
                "policy_parameters": "",
                "layout": "clustered" if policy == "starc" else "sequential",
                "hardware": hardware,
                "budget": budget,
            }
            named = {"point": ["/".join(key.values())], "status": "ok", "error": None}
            writer.write("points", key | named)
            for layer in range(layers):
                noise = random.uniform(0.5, 1.0, len(step))
                values = dict.fromkeys(_NS_AND_PJ, 100.0 * noise)
                values |= dict.fromkeys(_RATIOS, noise)
                where = {"dense_layer": layer < 2, "layer": layer}
                writer.write(
                    "steps",
                    key
                    | where
                    | values
                    | {
                        "kv_head": head,
                        "step": step,
                        "visible_tokens": 4097 + step.astype(np.int64),
                        "selected_tokens": 1024.0 * noise,
                        "blocks": (100 * noise).astype(np.int64),
                        "activations": (448 * noise).astype(np.int64),
                        "cycles": (1000 * noise).astype(np.int64),
                        "overfetch_ratio": 1 + noise,
                        "lane_tokens": random.integers(0, 64, (len(step), 16), dtype=np.int32),
                    },
                )
                one = np.arange(steps, dtype=np.int32)
                cost = dict.fromkeys(_OF_A_LAYER, noise[:steps])
                writer.write("layers", key | where | cost | {"step": one})
                lanes = np.arange(16 * kv_heads, dtype=np.int32)
                place = {"channel": lanes // 16, "lane": lanes % 16}
                writer.write("channels", key | where | place | {"tokens": lanes.astype(np.int64)})
        writer.finish(_description(range(layers), kv_heads, steps))
    return len(points) * layers * kv_heads * steps


def _description(layers: range, kv_heads: int, steps: int) -> dict[str, Any]:
    trace = dict.fromkeys(("path", "hash", "kind", "model"), "none")
    trace |= {"name": "synthetic-speed", "layers": [*layers]}
    layouts = {policy: "clustered" if policy == "starc" else "sequential" for policy in POLICIES}
    return {
        "traces": [trace | {"kv_heads": kv_heads, "decode_steps": steps}],
        "configuration": {
            "policies": [
                {"policy": policy, "parameters": "", "layout": layout}
                for policy, layout in layouts.items()
            ],
            "budgets": [*BUDGETS],
            "hardware": [*HARDWARE],
            "dense_layers": 2,
            "fidelity": "analytic",
            "layers": None,
            "seed": 0,
        },
        "hardware": [],
        "versions": {},
    }


_NS_AND_PJ = (
    *("latency_ns", "score_ns", "softmax_ns", "context_ns", "move_ns"),
    *("scoring_ns", "clustering_ns", "remap_ns", "energy_pj", "activation_pj", "cell_pj"),
    *("movement_pj", "mac_pj", "softmax_pj", "background_pj", "refresh_pj"),
    *("scoring_pj", "clustering_pj", "remap_pj"),
)
_OF_A_LAYER = (
    *("latency_ns", "latency_with_scoring_ns", "latency_with_overheads_ns", "energy_pj"),
    *("busiest_channel_ns", "mean_channel_ns"),
)
_RATIOS = (
    "lane_utilisation_ratio",
    "attention_mass_ratio",
    "topk_overlap_ratio",
    "output_error_ratio",
)


def main() -> None:
    """Print the time of each view over a series of filter changes, and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep"
        written = make_sweep(path, rows)
        start = time.perf_counter()
        table = tidy(open_results([path]))
        opened = time.perf_counter() - start
        print(f"{written:,} rows opened in {opened:.2f} s as {len(table.rows):,} tidy rows,")
        print(f"windows of {table.window_steps} steps; polars {pl.__version__}")
        client = make_app(table).server.test_client()
        worst = 0.0
        views = _views(client)
        for view in views:
            times = [_ask(client, view, query) for query in ("&layers=2", *QUERIES)][1:]
            worst = max(worst, *times)
            print(
                f"{view:34s} median {statistics.median(times):6.0f} ms   worst {max(times):6.0f} ms"
            )
        verdict = "met" if worst < TARGET_MS else "MISSED"
        print(f"worst answer to a filter: {worst:.0f} ms (target {TARGET_MS:.0f} ms: {verdict})")


QUERIES = (
    "&budget=512",
    "&budget=1024&methods=starc&methods=quest",
    "&hardware=device_3",
    "&layers=2-5",
    "&heads=0,2",
    "&first=0&last=100",
    "&methods=starc&dense=yes",
    "&every=yes&layers=1",
    "&budget=2048&hardware=device_5&layers=4&heads=1",
)


def _views(client: object) -> list[str]:
    from analysis.figures import figures

    groups = list(dict.fromkeys(one.group for one in figures().values()))
    return [*groups, "Table"]


def _ask(client: object, view: str, query: str) -> float:
    outputs = [f"{name}.{key}" for name, key in OUTPUTS]
    body = {
        "output": f"..{'...'.join(outputs)}..",
        "outputs": [{"id": name, "property": key} for name, key in OUTPUTS],
        "inputs": [{"id": "url", "property": "search", "value": f"?view={view}{query}"}],
        "changedPropIds": ["url.search"],
    }
    start = time.perf_counter()
    answer = client.post("/_dash-update-component", json=body)  # type: ignore[attr-defined]
    taken = 1000 * (time.perf_counter() - start)
    assert answer.status_code == 200, answer.data
    assert json.loads(answer.data)["response"]["content"]["children"], (view, query)
    return taken


if __name__ == "__main__":
    main()
