"""Closed forms of memories with mappings of their own against their command sets, and their speed.

python benchmarks/devices.py
"""

import time
from collections.abc import Iterator

import numpy as np

from pimreplay import mappings
from pimreplay.cost.mapping import BoolArray, Mapping

DEVICES = (
    "skhynix_gddr6_aim",
    "skhynix_gddr6_aim_as_run",
    "samsung_hbm_pim",
    "samsung_hbm_pim_by_token",
)
HEAD_DIMS = (64, 128)
TOKENS = (128, 1000, 4096)
SHARES = (0.01, 0.05, 0.1, 0.3, 0.7)
RUN_TOKENS = 16


def selections(tokens: int, rng: np.random.Generator) -> Iterator[tuple[str, BoolArray]]:
    """Yield masks (tokens,) of all tokens, of random ones, of runs of 16, and of a few."""
    yield "dense", np.ones(tokens, dtype=bool)
    for share in SHARES:
        random = rng.random(tokens) < share
        random[0] = True
        yield f"random {share:.0%}", random
        starts = rng.integers(0, tokens, max(1, int(tokens * share / RUN_TOKENS)))
        runs = np.isin(np.arange(tokens) // RUN_TOKENS, starts // RUN_TOKENS)
        yield f"runs {share:.0%}", runs
        few = np.zeros(tokens, dtype=bool)
        few[rng.integers(0, tokens, 4)] = True
        yield "four tokens", few


def blocks(mapping: Mapping, masks: BoolArray) -> list[BoolArray]:
    """Return the blocks of keys and of values that tokens (points, tokens) touch."""
    return [
        np.logical_or.reduceat(masks, np.arange(0, masks.shape[1], one.block_tokens), axis=1)[None]
        for one in (mapping.keys, mapping.values)
    ]


def main() -> None:
    """Print the error of every device over all selections, and its points a second."""
    for name in DEVICES:
        rng, errors = np.random.default_rng(1), []
        device = mappings.load(name)
        for head_dim in HEAD_DIMS:
            mapping = mappings.mapping_of(device, head_dim)
            for tokens in TOKENS:
                for what, mask in selections(tokens, rng):
                    own = blocks(mapping, mask[None])
                    fast, true = (
                        int(mapping.cost(*own, 1, fidelity).cycles[0])
                        for fidelity in ("analytic", "command")
                    )
                    where = f"head_dim {head_dim}, {tokens} tokens, {what}: {fast} for {true}"
                    errors.append((abs(fast / true - 1), where))
        sizes = [error for error, _ in errors]
        print(
            f"{name}: {len(errors)} selections, error median {np.median(sizes):.2%}, "
            f"worst {max(sizes):.2%} ({max(errors)[1]})"
        )
        for tokens in (1024, 4096):
            own = blocks(mapping, rng.random((20_000, tokens)) < 0.05)
            seconds = np.inf
            for _ in range(3):
                start = time.process_time()
                mapping.cost(*own, 1, "analytic")
                seconds = min(seconds, time.process_time() - start)
            print(f"  {tokens} tokens: {20_000 / seconds:,.0f} points a second")


if __name__ == "__main__":
    main()
