"""ClusterKV: whole-prompt clusters of keys, recalled by query until the budget is full.

Liu et al., "ClusterKV: Manipulating LLM KV Cache in Semantic Space for Recallable Compression",
DAC 2025 (arXiv 2412.03213, section III); behaviour as described by sjtu-zhao-lab/ClusterKV
@ cb66a22 (first centroids are drawn at random there: draws differ, the method does not).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.clusters import ClusterBuilder, Clusters, WholeClusters
from pimreplay.selection.kmeans import assign, kmeans
from pimreplay.selection.kmeans_flops import flops
from pimreplay.selection.once import once
from pimreplay.selection.top_k import Gqa, empty_mask, ranking_query, share
from pimreplay.selection.visibility import budget_tokens, tiles
from pimreplay.variants import MOST_ITERATIONS, at_least, at_most


@dataclass(frozen=True, slots=True)
class ClusterKV:
    """Keep the sinks, the best clusters (the last one cut to fit) and the unclustered tail.

    Sinks and recalled tokens count inside the budget. The decoded tokens that are not clustered
    yet come on top, as in the public code, unless `tail_inside`.
    """

    usual_layout: ClassVar[str] = "clustered"

    sinks: int = 16
    """First tokens, never clustered and always kept."""
    cluster_tokens: int = 80
    """Mean prompt tokens of a cluster (paper: L / 80 clusters, 400 at 32k)."""
    tail_tokens: int = 320
    """Decoded tokens clustered together."""
    tail_clusters: int = 8
    iterations: int = 20
    tail_inside: bool = False
    """Count the unclustered tail inside the budget."""
    gqa: Gqa = "per_query_head"
    """`group_shared` ranks by the scores summed over the group."""

    def __post_init__(self) -> None:
        at_least(self, sinks=0, cluster_tokens=1, tail_tokens=1, tail_clusters=1, iterations=1)
        at_most(self, iterations=MOST_ITERATIONS)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return sinks, recalled clusters and tail of every step."""
        clusters = once(head, self, self.cluster)
        always = min(self.sinks, head.prompt_tokens)
        whole = WholeClusters(head, clusters, always)
        now = budget_tokens(head, budget)
        mask = empty_mask(head, self.gqa)
        query = ranking_query(head, self.gqa)
        for steps in tiles(head):
            scores = query[:, steps] @ clusters.centroid.T
            limit = now[steps]
            if not self.tail_inside:
                limit = limit + whole.kept_tokens(steps) - whole.kept_sinks(steps)
            mask[:, steps, : head.prompt_tokens + steps.stop] = whole.mask(scores, steps, limit)
        return Selection(share(mask, self.gqa, head.q_heads), clusters.groups, clusters.work(head))

    def cluster(self, head: KvHeadTrace) -> Clusters:
        """Return every cluster made during the trace, whatever the budget."""
        builder = ClusterBuilder(head)
        first = min(self.sinks, head.prompt_tokens)
        count = math.ceil((head.prompt_tokens - first) / self.cluster_tokens)
        self._add(builder, head, first, head.prompt_tokens, count, -1)
        for begin in range(
            head.prompt_tokens, head.tokens - self.tail_tokens + 1, self.tail_tokens
        ):
            stop = begin + self.tail_tokens
            self._add(builder, head, begin, stop, self.tail_clusters, stop - head.prompt_tokens - 1)
        return builder.clusters()

    def _add(
        self,
        builder: ClusterBuilder,
        head: KvHeadTrace,
        begin: int,
        stop: int,
        count: int,
        step: int,
    ) -> None:
        """Cluster one run of tokens by the cosine of their keys; centroids are plain means."""
        count = min(count, stop - begin)
        if count == 0:
            return
        key = head.key[None, begin:stop]
        random = torch.Generator().manual_seed(head.seed + begin)
        start = torch.randperm(stop - begin, generator=random)[:count].to(key.device)
        found = kmeans(key, key[:, start], self.iterations, empty="keep", metric="cosine")
        label = assign(normalize(key, dim=-1), normalize(found.centroid, dim=-1))
        work = flops(stop - begin, count, head.head_dim, found.iterations + 1)
        builder.add(begin, label, found.centroid, step, work)
