"""Time STARC's clustering of one KV head against k-means of the same windows by others.

    python benchmarks/clustering.py [--tokens 32768] [--head-dim 128]

Prints seconds and ratios, all timed in one run on the same keys: `faiss.Kmeans` window after window
(where faiss is installed; same first centroids and iterations) and a plain batched k-means in torch
(what a direct translation of the paper does: no early stop, one product and one scatter an
iteration). The claim: at most 1.5 times either. Ours includes normalising the keys, cutting them in
windows, the stored order and the bookkeeping of the clusters.
"""

import argparse
from importlib.util import find_spec

import numpy as np
import torch
from replay import best_of, planted_head

from pimreplay.policies import load_policy

LIMIT = 1.5


def by_torch(key: torch.Tensor, window: int, clusters: int, iterations: int) -> torch.Tensor:
    """Cluster all windows at once, every iteration in full."""
    points = torch.nn.functional.normalize(key, dim=-1).view(-1, window, key.shape[1])
    centroid = points[:, :clusters].clone()
    for _ in range(iterations):
        label = torch.cdist(points, centroid).argmin(-1)
        index = label[..., None].expand(-1, -1, key.shape[1])
        total = torch.zeros_like(centroid).scatter_add_(1, index, points)
        count = torch.zeros(centroid.shape[:2]).scatter_add_(1, label, torch.ones(label.shape))
        centroid = total / count.clamp_min(1)[..., None]
    return centroid


def by_faiss(key: np.ndarray, window: int, clusters: int, iterations: int) -> None:
    """Cluster window after window."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    points = key / np.linalg.norm(key, axis=1, keepdims=True)
    for first in range(0, len(points), window):
        part = np.ascontiguousarray(points[first : first + window])
        means = faiss.Kmeans(
            part.shape[1], clusters, niter=iterations, min_points_per_centroid=1, nredo=1
        )
        means.train(part, init_centroids=part[:clusters].copy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="as in one worker of a replay")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # no decode steps to speak of: one window short of all tokens is the prompt
    head = planted_head(arguments.tokens, 1, 1, arguments.head_dim)
    policy = load_policy("starc")
    print(
        f"{arguments.tokens} keys in windows of 64, 4 clusters, at most 16 iterations, "
        f"{torch.get_num_threads()} threads"
    )
    ours = best_of(arguments.repeat, lambda: policy.cluster(head))
    print(f"ours                  {ours:8.3f} s")
    others = {"batched k-means, torch": lambda: by_torch(head.key, 64, 4, 16)}
    if find_spec("faiss"):
        others["faiss, by window"] = lambda: by_faiss(head.key.numpy(), 64, 4, 16)
    for name, work in others.items():
        taken = best_of(arguments.repeat, work)
        verdict = "ok" if ours <= LIMIT * taken else f"above {LIMIT:g}"
        print(f"{name:22s}{taken:8.3f} s  ratio {ours / taken:6.3f}  {verdict}")
    if not find_spec("faiss"):
        print("faiss is not installed (pip install faiss-cpu): compared with torch only")


if __name__ == "__main__":
    main()
