"""Claim: a study over a demo-sized trace takes minutes, and a second worker nearly halves it.

    python benchmarks/sweep.py [--trace DIR]

A sweep of 6 policies x 4 budgets x 6 devices over 6 layers x 2 KV heads (4 query heads), head_dim
128, 4,224 tokens, 128 steps, from a cold start of the command to the finished tables: once with
two workers, once with one. A worker has one thread, alone too. Prints both times and two ratios:
of the replay, which the workers share, and of the whole command, which also starts Python with
torch and writes the tables. On so small a trace those few seconds count; the target is the
replay's. Exit code 1 when a target is missed or the two sweeps' tables differ by a byte. Both runs
want the machine for themselves: another busy process spoils the ratio.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracegen.trace.schema import Manifest
from tracegen.trace.writer import TraceWriter

LIMIT_S = 300.0
SPEEDUP = 1.7
LAYERS, KV_HEADS, GROUP, HEAD_DIM, PROMPT_TOKENS, STEPS = 6, 2, 2, 128, 4096, 128
POLICIES = ("dense", "topk", "sparq", "quest", "starc", "starc@sequential")
BUDGETS = (256, 512, 1024, 2048)
SHIPPED = ("attacc_hbm3_bank", "attacc_hbm3_bg", "attacc_hbm3_buffer")
PRESET = "HBM3_6.4Gbps"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=LAYERS, help="layers of the trace")
    parser.add_argument("--trace", type=Path, help="a trace that is there, such as demo/trace")
    parser.add_argument("--repeat", type=int, default=1, help="best of so many runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = options.trace or write_trace(folder / "trace", options.layers)
        file = write_sweep(folder, trace.absolute())
        timed = {
            workers: min(
                (sweep(folder, file, workers) for _ in range(options.repeat)),
                key=lambda one: one.total_s,
            )
            for workers in (2, 1)
        }
        same = tables(folder, 2) == tables(folder, 1)
    two, one = timed[2], timed[1]
    ratio = one.work_s / two.work_s
    print(f"sweep of {len(POLICIES) * len(BUDGETS) * 2 * len(SHIPPED)} points")
    for workers, each in timed.items():
        print(
            f"{workers} workers: {each.total_s:.1f} s in all, {each.work_s:.1f} s of it replaying"
        )
    print(f"in all with 2 workers: {two.total_s:.1f} s (at most {LIMIT_S:.0f} s)")
    print(f"replaying, 1 worker to 2 workers: {ratio:.2f} (at least {SPEEDUP})")
    print(f"in all, 1 worker to 2 workers: {one.total_s / two.total_s:.2f}")
    print(f"tables of both: {'the same bytes' if same else 'DIFFERENT'}")
    if hasattr(os, "getloadavg"):
        print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    return 0 if two.total_s <= LIMIT_S and ratio >= SPEEDUP and same else 1


@dataclass(frozen=True)
class Timed:
    """Seconds of one sweep: the whole command, and between its first and last finished part."""

    total_s: float
    work_s: float


def write_trace(path: Path, layers: int) -> Path:
    """Write random vectors in the demo's shape: speed does not depend on their values."""
    q_heads, tokens = KV_HEADS * GROUP, PROMPT_TOKENS + STEPS
    manifest = Manifest(
        kind="synthetic",
        model="random vectors",
        layers=tuple(range(layers)),
        q_heads=q_heads,
        kv_heads=KV_HEADS,
        head_dim=(HEAD_DIM,) * layers,
        dtype="float16",
        prompt_tokens=PROMPT_TOKENS,
        decode_steps=STEPS,
        softmax_scale=(HEAD_DIM**-0.5,) * layers,
        sliding_window=(None,) * layers,
    )
    rng = np.random.default_rng(0)

    def vectors(heads: int, rows: int) -> np.ndarray:
        return rng.standard_normal((heads, rows, HEAD_DIM), np.float32).astype(np.float16)

    with TraceWriter(path, manifest) as writer:
        for layer in manifest.layers:
            keys, values = vectors(KV_HEADS, tokens), vectors(KV_HEADS, tokens)
            writer.write_layer(layer, keys, values, vectors(q_heads, STEPS))
        writer.write_tokens()
    return path


def write_sweep(folder: Path, trace: Path) -> Path:
    """Write the sweep file, and a faster variant of each shipped device."""
    for base in SHIPPED:
        text = f'base = "{base}"\n[timing]\nsource = "a faster speed bin"\npreset = "{PRESET}"\n'
        (folder / f"{base}_fast.toml").write_text(text)
    hardware = [*SHIPPED, *(f"{base}_fast.toml" for base in SHIPPED)]
    file = folder / "sweep.toml"
    file.write_text(
        f'traces = ["{trace}"]\npolicies = {list(POLICIES)}\nbudgets = {list(BUDGETS)}\n'
        f"hardware = {hardware}\n"
    )
    return file


def sweep(folder: Path, file: Path, workers: int) -> Timed:
    """Run one sweep from a cold start of the command.

    The replay's time is taken at the cache: from its first part on the disk to its last.
    """
    out = folder / f"out{workers}"
    shutil.rmtree(out, ignore_errors=True)
    program = "from tracegen.main import pimreplay; pimreplay()"
    command = [sys.executable, "-c", program, "sweep", file, "--out", out, "--workers", workers]
    start_s = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    total_s = time.perf_counter() - start_s
    written_s = [path.stat().st_mtime for path in (out / "cache").rglob("*.part")]
    return Timed(total_s, max(written_s) - min(written_s))


def tables(folder: Path, workers: int) -> dict[str, bytes]:
    """Return the bytes of a sweep's tables."""
    return {path.name: path.read_bytes() for path in (folder / f"out{workers}").glob("*.parquet")}


if __name__ == "__main__":
    sys.exit(main())
