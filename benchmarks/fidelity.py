"""The error of the analytic fidelity against the command fidelity, and its speed.

    python benchmarks/fidelity.py

In cycles and row activations, at bank, bank-group and buffer level, over a grid of head sizes,
contexts, query heads, layouts of the selection (dense, scattered blocks, runs of blocks, all blocks
of some rows, a few blocks) and shares of the context. At 32k tokens only some of it, because the
command fidelity takes long.
"""

import time
from itertools import product

import numpy as np

from pimreplay.cost.step_cost import step_cost
from pimreplay.hardware import reading as hardware

HEAD_DIMS = (64, 128)
Q_HEADS = (1, 4)
SHARES = {1024: (0.1, 0.5), 8192: (0.02, 0.1), 32768: (0.02,)}
FEW = (1, 2, 3, 5, 9, 17)
RUN_BLOCKS = 8


def selections(n_blocks: int, tokens: int, seed: int) -> dict[str, np.ndarray]:
    """Return (1, n_blocks) masks by name."""
    rng = np.random.default_rng(seed)
    found = {}

    def add(name: str, chosen: np.ndarray) -> None:
        found[name] = np.zeros((1, n_blocks), dtype=bool)
        found[name][0, chosen[chosen < n_blocks]] = True

    if tokens <= 8192:
        add("dense", np.arange(n_blocks))
    for share in SHARES[tokens]:
        count = max(2, int(n_blocks * share))
        add(f"scattered {share:.0%}", rng.choice(n_blocks, count, replace=False))
        starts = rng.integers(0, n_blocks, max(1, count // RUN_BLOCKS))
        add(f"runs {share:.0%}", (starts[:, None] + np.arange(RUN_BLOCKS)).reshape(-1))
        rows = rng.integers(0, -(-n_blocks // 16), max(1, count // 16))
        add(f"rows {share:.0%}", (rows[:, None] * 16 + np.arange(16)).reshape(-1))
    for few in FEW:
        add(f"{few} scattered", rng.choice(n_blocks, few, replace=False))
        add(f"{few} together", np.arange(few) + rng.integers(0, n_blocks - few))
    return found


def grid(level: str) -> None:
    """Print the error of one level's device over the grid."""
    device = hardware.load(f"attacc_hbm3_{level}")
    start = time.perf_counter()
    errors, rows = [], []
    for head_dim, tokens, q_heads in product(HEAD_DIMS, SHARES, Q_HEADS):
        n_blocks = tokens // device.geometry(head_dim).block_tokens
        for name, blocks in selections(n_blocks, tokens, seed=tokens + q_heads).items():
            analytic = step_cost(device.geometry(head_dim), blocks, q_heads, "analytic")
            command = step_cost(device.geometry(head_dim), blocks, q_heads, "command")
            fast, true = int(analytic.cycles[0]), int(command.cycles[0])
            where = f"head_dim {head_dim}, {tokens} tokens, {q_heads} q_heads, {name}"
            errors.append((abs(fast / true - 1), where, fast, true))
            rows.append(abs(int(analytic.n_activations[0]) / int(command.n_activations[0]) - 1))
    size = np.array([error for error, *_ in errors])
    print(
        f"{level}: {len(size)} points, error median {np.median(size):.2%}, "
        f"95% below {np.quantile(size, 0.95):.2%}, worst {size.max():.2%} "
        f"({time.perf_counter() - start:.0f} s); row activations median {np.median(rows):.2%}, "
        f"95% below {np.quantile(rows, 0.95):.2%}, worst {max(rows):.2%}"
    )
    for error, where, fast, true in sorted(errors, reverse=True)[:3]:
        print(f"  {error:.2%}: {where}: {fast} against {true} cycles")


def speed(level: str) -> None:
    """Print the points a second of one level's device."""
    device = hardware.load(f"attacc_hbm3_{level}")
    few = {"bank": 1, "bg": 4, "buffer": 40}[level]
    for tokens, points in ((1024, 200_000), (4096, 100_000), (32768, 20_000)):
        n_blocks = tokens // device.geometry(128).block_tokens
        blocks = np.random.default_rng(0).random((points // few, n_blocks)) < 0.05
        step_cost(device.geometry(128), blocks[:10], 4)
        seconds = np.inf
        for _ in range(3):
            start = time.perf_counter()
            step_cost(device.geometry(128), blocks, 4)
            seconds = min(seconds, time.perf_counter() - start)
        rate = len(blocks) / seconds
        print(
            f"{level}, {tokens} tokens, 5% of the blocks, 4 query heads: "
            f"{rate / 1e6:.3f} million points a second, "
            f"{rate * n_blocks / 1e9:.2f} GB/s of the mask read"
        )


if __name__ == "__main__":
    for one in ("bank", "bg", "buffer"):
        speed(one)
        grid(one)
