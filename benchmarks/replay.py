"""Time selection and cost of one KV head against the bare score product and top-k.

    python benchmarks/replay.py [--tokens 32768] [--steps 256] [--q-heads 4] [--head-dim 128]

Prints, for each policy, seconds of selection plus block cost of one (layer, kv_head), and the ratio
to what any implementation must at least do for exact top-k: `query @ key.T` and `torch.topk`, timed
in the same run on the same data, tile by tile. The claim: at most 2 for topk, quest, starc (its
clustering apart, see benchmarks/clustering.py) and sparq. Best of `--repeat` runs, taken in turn.
"""

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch

from pimreplay.cost.step_cost import step_cost
from pimreplay.hardware import reading as hardware
from pimreplay.layouts import load_layout
from pimreplay.placement.blocks import touched_blocks
from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget

LIMIT = 2.0
POLICIES = {
    "topk": "sequential",
    "quest": "sequential",
    "starc": "clustered",
    "sparq": "sequential",
}


def planted_head(
    tokens: int, steps: int, q_heads: int, head_dim: int, seed: int = 0
) -> KvHeadTrace:
    """Make a head whose keys follow a slow random walk, so that neighbours are alike."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    key = (
        normal(tokens, head_dim)
        + 0.3
        * normal(tokens // 64 + 1, head_dim).repeat_interleave(64, dim=0)[:tokens].cumsum(0)
        / 4
    )
    return KvHeadTrace(
        layer=2,
        kv_head=0,
        query=normal(q_heads, steps, head_dim),
        key=key,
        value=normal(tokens, head_dim),
        prompt_tokens=tokens - steps,
        softmax_scale=head_dim**-0.5,
        soft_cap=None,
        sliding_window=None,
    )


def bare(head: KvHeadTrace, budget: int, tile_steps: int = 32) -> None:
    """Score every key with every query and take the best: the least that top-k must do."""
    for first in range(0, head.steps, tile_steps):
        scores = head.query[:, first : first + tile_steps] @ head.key.T
        scores.topk(budget, dim=-1)


def replayed(policy: object, layout: str, head: KvHeadTrace, budget: Budget) -> None:
    """Select, place, find the blocks and cost them."""
    selection = policy.select(head, budget)
    placement = load_layout(layout).place(
        selection.groups, head.tokens, head.prompt_tokens, head.steps, 16
    )
    blocks = touched_blocks(selection.mask, placement, 16).any(dim=0).numpy()
    device = hardware.load("attacc_hbm3_bank")
    step_cost(device.geometry(head.head_dim), blocks, head.q_heads)


def best_of(repeat: int, work: Callable[[], object]) -> float:
    """Return the shortest of some runs in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def after_clustering(policy: object, head: KvHeadTrace) -> object:
    """Return the policy with its clusters already made, where it makes any."""
    if not hasattr(policy, "cluster"):
        return policy
    clusters = policy.cluster(head)
    return SimpleNamespace(
        select=lambda head, budget: policy.select_clustered(head, budget, clusters)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--q-heads", type=int, default=4)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--budget", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--policies", nargs="*", default=list(POLICIES))
    parser.add_argument("--threads", type=int, default=1, help="as in one worker of a replay")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    head = planted_head(arguments.tokens, arguments.steps, arguments.q_heads, arguments.head_dim)
    budget = Budget(count_tokens=arguments.budget)
    work: dict[str, Callable[[], object]] = {"bare": lambda: bare(head, arguments.budget)}
    for name in arguments.policies:
        policy = after_clustering(load_policy(name), head)
        layout = POLICIES.get(name.partition(":")[0], "sequential")
        work[f"{name} on {layout}"] = lambda p=policy, on=layout: replayed(p, on, head, budget)
    # turn by turn, so that another load on the machine falls on all alike
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(arguments.repeat):
        for name, one in work.items():
            times[name].append(best_of(1, one))
    base = min(times.pop("bare"))
    print(
        f"{arguments.tokens} tokens x {arguments.steps} steps x {arguments.q_heads} query heads, "
        f"head_dim {arguments.head_dim}, budget {arguments.budget}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"{'bare score product and top-k':28s}{base:8.3f} s")
    for name, taken in times.items():
        verdict = "ok" if min(taken) <= LIMIT * base else f"above {LIMIT:g}"
        print(f"{name:28s}{min(taken):8.3f} s  ratio {min(taken) / base:6.3f}  {verdict}")


if __name__ == "__main__":
    main()
