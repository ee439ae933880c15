"""Claim: a replay of a 4 GB trace needs less than 3 GB of memory, all its processes together.

    python benchmarks/memory.py [--trace DIR] [--policies topk starc ...] [--steps 64]

Makes a synthetic trace of 8 KV heads x 4 query heads, head_dim 128, 32,768 prompt tokens, with as
many layers as fill 4 GB (or takes one that is there), replays it whole with `pimreplay run` and
adds up, ten times a second, what every process of the command holds: its own pages and its share
of those that it has in common with others (PSS; Linux). Exit code 1 above the limit.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_BYTES = 3_000_000_000
TRACE_BYTES = 4_000_000_000
KV_HEADS, GROUP, HEAD_DIM, PROMPT_TOKENS = 8, 4, 128, 32_768
POLICIES = ("topk", "starc")
SAMPLE_S = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, help="a trace that is there")
    parser.add_argument("--steps", type=int, default=64, help="decode steps of the one made")
    parser.add_argument("--policies", nargs="*", default=POLICIES)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = options.trace or make_trace(folder / "trace", options.steps)
        size = sum(path.stat().st_size for path in trace.rglob("*") if path.is_file())
        policies = [word for policy in options.policies for word in ("--policy", policy)]
        limits = ["--budget", "1024", "--workers", str(options.workers)]
        begin_s = time.perf_counter()
        peak, most = peak_bytes(
            command("pimreplay", "run", str(trace), *policies, *limits, "--out", f"{folder}/out")
        )
        took_s = time.perf_counter() - begin_s
    print(f"trace: {size / 1e9:.2f} GB; {', '.join(options.policies)}; replayed in {took_s:.0f} s")
    print(f"largest process: {most / 1e9:.2f} GB")
    print(f"peak memory of all processes: {peak / 1e9:.2f} GB (at most {LIMIT_BYTES / 1e9:.0f} GB)")
    return 0 if peak <= LIMIT_BYTES else 1


def make_trace(path: Path, steps: int) -> Path:
    """Write a trace of about `TRACE_BYTES`."""
    layer_bytes = 2 * 2 * KV_HEADS * HEAD_DIM * (PROMPT_TOKENS + steps)
    shape = {
        "layers": -(-TRACE_BYTES // layer_bytes),
        "kv-heads": KV_HEADS,
        "q-heads": KV_HEADS * GROUP,
        "head-dim": HEAD_DIM,
        "prompt-tokens": PROMPT_TOKENS,
        "decode-steps": steps,
    }
    given = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    subprocess.run(command("tracegen", "synthesize", "--out", str(path), *given), check=True)
    return path


def command(program: str, *arguments: str) -> list[str]:
    """Return a command of the project's as this Python runs it."""
    return [sys.executable, "-c", f"from tracegen.main import {program}; {program}()", *arguments]


def peak_bytes(words: list[str]) -> tuple[int, int]:
    """Run a command; return the most that all its processes held together, and that one held."""
    process = subprocess.Popen(words, start_new_session=True)
    peak = most = 0
    while process.poll() is None:
        held = [held_bytes(pid) for pid in session(process.pid)]
        peak, most = max(peak, sum(held)), max(most, *held, 0)
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return peak, most


def session(leader: int) -> list[int]:
    """Return the processes of a session: a command and everything that it started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == leader:
            found.append(int(entry.parent.name))
    return found


def held_bytes(pid: int) -> int:
    """Return a process's proportional set size, 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0] == "Pss:")


if __name__ == "__main__":
    sys.exit(main())
