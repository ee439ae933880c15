"""How fast the command scheduler is: commands per second, and against the reference simulator.

    python benchmarks/scheduler.py [CASES.json]

CASES.json holds objects with `name`, `trace` (a file in `traces/` beside it, or null where
attention parameters are given), `timing`, `org`, `refresh`, `cycles` and `reference_wall_s`, the
reference simulator's own run time. Without it, layers are generated here and the reference's time
is not known. One thread, compiled code warm, best of several runs; parsing is timed apart.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pimreplay import hardware
from pimreplay.attention import AttentionShape, attention_requests
from pimreplay.commands import AddressMap, Requests
from pimreplay.reader import read_trace
from pimreplay.scheduler import schedule
from pimreplay.timing import load_organisation, load_timing

MANY_LINES = 10_000


def best(work: Callable[[], Any], runs: int = 5) -> tuple[float, Any]:
    """Return the shortest time of several runs, and the last result."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def generated() -> list[dict[str, Any]]:
    shapes = [("bank", 16, 4096), ("bank", 32, 16384), ("bg", 16, 1024), ("buffer", 16, 1024)]
    return [
        {
            "name": f"{mode}-nh{heads}-L{tokens}",
            "mode": mode,
            "heads_per_hbm": heads,
            "seq_len": tokens,
            "head_dim": 128,
            "bytes_per_element": 2,
            "timing": "HBM3_5.2Gbps",
            "org": "HBM3_8Gb_2R",
            "refresh": True,
            "trace": None,
        }
        for mode, heads, tokens in shapes
    ]


def load(case: dict[str, Any], folder: Path | None) -> tuple[Requests, float | None]:
    """Return the requests of a case and the time of parsing its file."""
    org = load_organisation(case["org"])
    if case["trace"] and folder is not None:
        path = folder / "traces" / case["trace"]
        seconds, parts = best(lambda: list(read_trace(path, AddressMap.of(org))), 2)
        return Requests(
            np.concatenate([p.kind for p in parts]), np.concatenate([p.address for p in parts])
        ), seconds
    device = replace(hardware.load(f"attacc_hbm3_{case['mode']}"), organisation=org)
    shape = AttentionShape(
        case["mode"],
        case["head_dim"],
        case["heads_per_hbm"],
        case["seq_len"],
        case["bytes_per_element"],
        case.get("kv_budget"),
        case.get("max_len"),
        bool(case.get("cluster_step")),
    )
    return attention_requests(device, shape), None


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    cases = generated() if path is None else json.loads(path.read_text())
    start = time.perf_counter()
    first, _ = load(generated()[0], None)
    org = load_organisation("HBM3_8Gb_2R")
    schedule(first, org, load_timing("HBM3_5.2Gbps", org))
    print(f"first call, compiling or loading compiled code: {time.perf_counter() - start:.1f} s")
    ratios = []
    print(f"{'case':52} {'lines':>8} {'ms':>8} {'Mcmd/s':>7} {'parse ms':>8} {'x reference':>11}")
    for case in cases:
        requests, parsing = load(case, path.parent if path else None)
        if len(requests) <= MANY_LINES:
            continue
        org = load_organisation(case["org"])
        timing = load_timing(case["timing"], org)
        seconds, outcome = best(
            lambda r=requests, o=org, t=timing, c=case: schedule(r, o, t, refresh=c["refresh"])
        )
        if "cycles" in case and outcome.cycles != case["cycles"]:
            raise SystemExit(f"{case['name']}: {outcome.cycles} cycles, not {case['cycles']}")
        reference = case.get("reference_wall_s")
        ratio = None if reference is None else reference / seconds
        if ratio is not None:
            ratios.append(ratio)
        print(
            f"{case['name']:52} {len(requests):8d} {seconds * 1e3:8.2f} "
            f"{len(requests) / seconds / 1e6:7.1f} "
            f"{'-' if parsing is None else f'{parsing * 1e3:.1f}':>8} "
            f"{'-' if ratio is None else f'{ratio:,.0f}':>11}"
        )
    if ratios:
        print(
            f"speed-up over the reference: least {min(ratios):,.0f}, "
            f"median {np.median(ratios):,.0f}, {sum(r >= 300 for r in ratios)} of {len(ratios)} "
            "at least 300"
        )


if __name__ == "__main__":
    main()
