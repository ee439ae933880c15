"""STARC: keys clustered in small windows, whole clusters read together and stored together.

Fan et al., "STARC: Selective Token Access with Remapping and Clustering for Efficient LLM Decoding
on PIM Systems", ASPLOS 2026 (doi 10.1145/3779212.3790226; first version arXiv 2505.05772v1);
behaviour as EPIC-RPI/STARC @ 30d4ce9, evaluation/starc_attention.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.clusters import ClusterBuilder, Clusters, WholeClusters
from pimreplay.selection.kmeans import kmeans, plus_plus
from pimreplay.selection.kmeans_flops import flops
from pimreplay.selection.once import once
from pimreplay.selection.stored_order import artefact_order
from pimreplay.selection.top_k import Gqa, empty_mask, ranking_query, share
from pimreplay.selection.visibility import budget_tokens, tiles
from pimreplay.variants import MOST_ITERATIONS, at_least, at_most

_PRESETS: dict[str, dict[str, int | str]] = {
    "artefact": {
        "window_tokens": 64,
        "cluster_tokens": 16,
        "tail_tokens": 64,
        "iterations": 16,
        "start": "first",
    },
    "v1": {
        "window_tokens": 0,
        "cluster_tokens": 32,
        "tail_tokens": 128,
        "iterations": 15,
        "start": "k-means++",
    },
}


@dataclass(frozen=True, slots=True)
class Starc:
    """Keep the unclustered tail, then the best clusters whole; the last one is cut to fit.

    The tail counts inside the budget, and is kept whole even where it is larger. The cache at the
    first decode step, its own token included, is clustered then; afterwards the tail is clustered
    whenever it has grown to `tail_tokens`, and nothing is ever clustered again.
    """

    usual_layout: ClassVar[str] = "clustered"

    preset: Literal["artefact", "v1"] = "artefact"
    """Values of the parameters that are not given: the public artefact's, or the first paper's."""
    window_tokens: int | None = None
    """Prompt tokens clustered together (artefact 64); 0: the whole prompt at once (v1)."""
    cluster_tokens: int | None = None
    """Mean tokens of a cluster (artefact 16, four clusters a window; v1 32)."""
    tail_tokens: int | None = None
    """New tokens clustered together (artefact 64, v1 128)."""
    iterations: int | None = None
    """At most so many of Lloyd's iterations (artefact 16, v1 15)."""
    start: Literal["first", "k-means++"] | None = None
    """First centroids: the first keys of the window (artefact) or k-means++ (v1)."""
    gqa: Gqa = "per_query_head"
    """`group_shared` ranks by the scores summed over the group."""

    def __post_init__(self) -> None:
        for name, value in _PRESETS[self.preset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        at_least(self, window_tokens=0, cluster_tokens=1, tail_tokens=1, iterations=1)
        at_most(self, iterations=MOST_ITERATIONS)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the tail and the best clusters of every step."""
        return self.select_clustered(head, budget, once(head, self, self.cluster))

    def select_clustered(self, head: KvHeadTrace, budget: Budget, clusters: Clusters) -> Selection:
        """Select from clusters made before: they are the same for every budget."""
        whole = WholeClusters(head, clusters)
        now = budget_tokens(head, budget)
        mask = empty_mask(head, self.gqa)
        query = ranking_query(head, self.gqa)
        for steps in tiles(head):
            scores = query[:, steps] @ clusters.centroid.T
            mask[:, steps, : head.prompt_tokens + steps.stop] = whole.mask(
                scores, steps, now[steps]
            )
        return Selection(share(mask, self.gqa, head.q_heads), clusters.groups, clusters.work(head))

    def cluster(self, head: KvHeadTrace) -> Clusters:
        """Return every cluster made during the trace, whatever the budget."""
        assert self.window_tokens is not None
        assert self.tail_tokens is not None
        builder = ClusterBuilder(head)
        first = min(head.prompt_tokens + 1, head.tokens)
        window = min(self.window_tokens or first, first)
        windows = first // window
        self._add(builder, head, 0, windows, window, 0)
        self._add(builder, head, windows * window, 1, first - windows * window, 0)
        for begin in range(first, head.tokens - self.tail_tokens + 1, self.tail_tokens):
            step = begin + self.tail_tokens - 1 - head.prompt_tokens
            self._add(builder, head, begin, 1, self.tail_tokens, step)
        return builder.clusters()

    def _add(
        self,
        builder: ClusterBuilder,
        head: KvHeadTrace,
        begin: int,
        windows: int,
        n: int,
        step: int,
    ) -> None:
        """Cluster equal windows of `n` tokens side by side, by the direction of their keys."""
        assert self.cluster_tokens is not None
        assert self.iterations is not None
        if windows == 0 or n == 0:
            return
        count = math.ceil(n / self.cluster_tokens)
        key = head.key[begin : begin + windows * n].view(windows, n, head.head_dim)
        points = torch.nn.functional.normalize(key, dim=-1)
        if self.start == "first":
            start = points[:, :count]
        else:
            start = plus_plus(points, count, head.seed + begin)
        found = kmeans(points, start, self.iterations)
        work = flops(n, count, head.head_dim, found.assignments)
        builder.add(begin, found.label, found.centroid, step, work, artefact_order(found.label))
