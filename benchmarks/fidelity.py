"""The error of the analytic fidelity against the command fidelity, and its speed.

    python benchmarks/fidelity.py [--buffer]

Over a grid of head sizes, contexts, query heads, layouts of the selection (dense, scattered blocks,
runs of blocks, all blocks of some rows) and shares of the context; bank and bank-group level, and
buffer level when asked (its closed form knows no bank conflicts and is coarse).
"""

import sys
import time
from itertools import product

import numpy as np

from pimreplay import hardware
from pimreplay.schedule import head_step_cost

HEAD_DIMS = (64, 128)
TOKENS = (1024, 8192, 32768)
Q_HEADS = (1, 4)
SHARES = (0.02, 0.1, 0.5)
RUN_BLOCKS = 8


def selections(n_blocks: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {"dense": np.ones((1, n_blocks), dtype=bool)}
    for share in SHARES:
        scattered = np.zeros((2, n_blocks), dtype=bool)
        runs = np.zeros((2, n_blocks), dtype=bool)
        rows = np.zeros((2, n_blocks), dtype=bool)
        for point in range(2):
            count = max(2, int(n_blocks * share))
            scattered[point, rng.choice(n_blocks, count, replace=False)] = True
            for start in rng.integers(0, n_blocks, max(1, count // RUN_BLOCKS)):
                runs[point, start : start + RUN_BLOCKS] = True
            for row in rng.integers(0, -(-n_blocks // 16), max(1, count // 16)):
                rows[point, row * 16 : (row + 1) * 16] = True
        found |= {
            f"scattered {share:.0%}": scattered,
            f"runs {share:.0%}": runs,
            f"rows {share:.0%}": rows,
        }
    return found


def grid(level: str) -> None:
    device = hardware.load(f"attacc_hbm3_{level}")
    errors = []
    for head_dim, tokens, q_heads in product(HEAD_DIMS, TOKENS, Q_HEADS):
        n_blocks = tokens // device.geometry(head_dim, 2).block_tokens
        for name, blocks in selections(n_blocks, seed=tokens + q_heads).items():
            fast = head_step_cost(device, head_dim, 2, blocks, q_heads, "analytic").cycles
            true = head_step_cost(device, head_dim, 2, blocks, q_heads, "command").cycles
            where = f"head_dim {head_dim}, {tokens} tokens, {q_heads} q_heads, {name}"
            errors += [
                (abs(f / t - 1), where, int(f), int(t)) for f, t in zip(fast, true, strict=True)
            ]
    size = np.array([error for error, *_ in errors])
    print(
        f"{level}: {len(size)} points, error median {np.median(size):.2%}, "
        f"95% below {np.quantile(size, 0.95):.2%}, worst {size.max():.2%}"
    )
    for error, where, fast_cycles, true_cycles in sorted(errors, reverse=True)[:3]:
        print(f"  {error:.2%}: {where}: {fast_cycles} against {true_cycles} cycles")


def speed() -> None:
    device = hardware.load("attacc_hbm3_bank")
    for tokens, points in ((1024, 200_000), (4096, 100_000), (32768, 20_000)):
        n_blocks = tokens // 16
        blocks = np.random.default_rng(0).random((points, n_blocks)) < 0.05
        head_step_cost(device, 128, 2, blocks[:10], 4)
        start = time.perf_counter()
        head_step_cost(device, 128, 2, blocks, 4)
        seconds = time.perf_counter() - start
        print(f"analytic, {tokens} tokens: {points / seconds / 1e6:.2f} million points a second")


if __name__ == "__main__":
    speed()
    for one in ("bank", "bg", *(("buffer",) if "--buffer" in sys.argv else ())):
        grid(one)
