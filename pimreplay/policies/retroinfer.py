"""RetroInfer: few clusters read exactly, many estimated from their centroids, the rest ignored.

Chen et al., "RetroInfer: A Vector-Storage Approach for Scalable Long-Context LLM Inference"
(arXiv 2505.02922, section 4); behaviour as microsoft/RetrievalAttention @ 6b1228c,
cache_hub/retroinfer_cache.py and cache_hub/kmeans.py. Contexts that its GPU path keeps dense for
speed are not treated apart here.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pimreplay.records import KvHeadTrace, Overhead, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.clusters import ClusterBuilder, Clusters, WholeClusters
from pimreplay.selection.kmeans import largest_product, means
from pimreplay.selection.kmeans_flops import flops
from pimreplay.selection.masked_attention import attend
from pimreplay.selection.once import once
from pimreplay.selection.overhead import stored_bytes
from pimreplay.selection.remembered import remembered
from pimreplay.selection.top_k import empty_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, tiles
from pimreplay.variants import MOST_ITERATIONS, at_least, at_most


@dataclass(frozen=True, slots=True)
class RetroInfer:
    """Keep a steady zone and the best clusters whole while they fit; estimate the next ones.

    The steady zone (first tokens, end of the prompt, decoded tokens not clustered yet) counts
    inside the budget and is kept whole even where it is larger. Estimated clusters cost two
    vectors each, counted as overhead. `retrieval_ratio` asks for the paper's own measure instead:
    that share of the clusters, whatever their sizes (0.018 in the public code).
    """

    usual_layout: ClassVar[str] = "clustered"

    sinks: int = 4
    local_tokens: int = 64
    """Last tokens of the prompt in the steady zone."""
    cluster_tokens: int = 16
    """Mean tokens of a cluster."""
    segment_tokens: int = 8192
    """Prompt tokens that share centroids while they are trained."""
    tail_tokens: int = 1024
    """Decoded tokens clustered together."""
    iterations: int = 10
    estimation_ratio: float = 0.232
    """Share of the clusters that is estimated, the best after the retrieved ones."""
    retrieval_ratio: float | None = None
    """Share of the clusters that is read; none: as many as the budget holds."""

    def __post_init__(self) -> None:
        at_least(self, sinks=0, local_tokens=0, cluster_tokens=1, segment_tokens=1, tail_tokens=1)
        at_least(self, iterations=1, estimation_ratio=0, retrieval_ratio=0)
        at_most(self, iterations=MOST_ITERATIONS, estimation_ratio=1, retrieval_ratio=1)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return what is read exactly, and the attention output with the estimated part.

        The choice is one for the whole group, by the softmax over centroids summed over it.
        """
        clusters = once(head, self, self.cluster)
        whole = WholeClusters(head, clusters, min(self.sinks, head.prompt_tokens))
        now = budget_tokens(head, budget)
        label = clusters.groups.label
        value_sum = torch.zeros_like(clusters.centroid)
        value_sum.index_add_(0, label[label >= 0], head.value[label >= 0])
        mask = empty_mask(head)
        output = torch.empty_like(head.query)
        estimated = torch.zeros(head.steps, dtype=torch.int64, device=head.key.device)
        for steps in tiles(head):
            scores = head.logits(head.query[:, steps] @ clusters.centroid.T)
            step = torch.arange(steps.start, steps.stop, device=scores.device)
            existing = clusters.existing(step)[:, None]
            absent = torch.arange(scores.shape[-1], device=scores.device) >= existing
            absent |= clusters.size == 0
            scores.masked_fill_(absent, float("-inf"))
            rank_by = head.softmax(scores).nan_to_num_(0.0).sum(0, keepdim=True)
            order, size = whole.ranked(rank_by.masked_fill_(absent, float("-inf")), steps)
            read = self._read(head, whole, size, existing, steps, now)
            part = whole.tokens(order, torch.where(read, size, 0), steps)[0]
            mask[:, steps, : part.shape[-1]] = part
            guess = self._estimated(read, size, existing)
            estimated[steps] = guess[0].sum(-1)
            chosen = torch.zeros_like(guess).scatter_(-1, order, guess)
            present = torch.zeros_like(size).scatter_(-1, order, size)
            scores.masked_fill_(~chosen, float("-inf"))
            output[:, steps] = self._output(head, steps, part, scores, value_sum, present, clusters)
        return Selection(mask, clusters.groups, self._overhead(head, clusters, estimated), output)

    def _read(
        self,
        head: KvHeadTrace,
        whole: WholeClusters,
        size: Tensor,
        existing: Tensor,
        steps: slice,
        now: Tensor,
    ) -> Tensor:
        """Return which of the ranked clusters are read exactly: (1, tile, clusters) bool."""
        everything = (now >= head.visible - first_seen(head))[steps, None]
        if self.retrieval_ratio is None:
            room = (now[steps] - whole.kept_tokens(steps))[:, None]
            return (size.cumsum(-1) <= room) | everything
        count = (existing * self.retrieval_ratio).round().clamp_min(1)
        return (torch.arange(size.shape[-1], device=size.device) < count)[None] | everything

    def _estimated(self, read: Tensor, size: Tensor, existing: Tensor) -> Tensor:
        """Return which of the ranked clusters are estimated: the best that are not read."""
        count = (existing * self.estimation_ratio).round()
        begin = read.sum(-1, keepdim=True)
        place = torch.arange(size.shape[-1], device=size.device)
        return (place >= begin) & (place < begin + count) & (size > 0)

    def _output(
        self,
        head: KvHeadTrace,
        steps: slice,
        mask: Tensor,
        scores: Tensor,
        value_sum: Tensor,
        present: Tensor,
        clusters: Clusters,
    ) -> Tensor:
        """Merge exact and estimated attention by their softmax denominators.

        A cluster adds its size times exp(score) below and its sum of values times exp(score)
        above. In a sliding window both shrink with the tokens that are still seen. A sink adds
        below alone.
        """
        exact, exact_total = attend(head, steps, mask)
        sink = head.sinks(scores)
        best = torch.cat([exact_total[..., None], scores, sink], dim=-1).amax(-1, keepdim=True)
        weight = (exact_total[..., None] - best).exp()
        guess = (scores - best).exp_()  # (q_heads, tile, clusters)
        seen_ratio = present / clusters.size.clamp_min(1)
        above = weight * exact + (guess * seen_ratio) @ value_sum
        return above / (weight + (guess * present).sum(-1, keepdim=True) + (sink - best).exp())

    def cluster(self, head: KvHeadTrace) -> Clusters:
        """Return every cluster made during the trace, whatever the budget."""
        builder = ClusterBuilder(head)
        first = min(self.sinks, head.prompt_tokens)
        last = max(first, head.prompt_tokens - self.local_tokens)
        segments = max(1, round((last - first) / self.segment_tokens))
        self._add(builder, head, first, last, segments, -1)
        # the update comes before the step's own token joins the steady zone
        for step in range(self.tail_tokens, head.steps, self.tail_tokens):
            begin = last + step - self.tail_tokens
            self._add(builder, head, begin, begin + self.tail_tokens, 1, step)
        return builder.clusters()

    def _add(
        self,
        builder: ClusterBuilder,
        head: KvHeadTrace,
        begin: int,
        stop: int,
        segments: int,
        step: int,
    ) -> None:
        """Cluster one run of tokens: centroids trained by segment, then shared by all."""
        n = stop - begin
        if n == 0:
            return
        count = self._clusters(n, segments)
        label, centroid = _clustered(head.key[begin:stop], count, segments, self.iterations)
        work = flops(n, count // segments, head.head_dim, self.iterations - 1)
        builder.add(begin, label, centroid, step, work + flops(n, count, head.head_dim, 1))

    def _clusters(self, n: int, segments: int) -> int:
        """Return how many clusters n tokens get: a multiple that the public kernels can take."""
        factor = math.lcm(8, segments)
        wanted = max(round(n / self.cluster_tokens), factor)
        lower = wanted // factor * factor
        count = lower if wanted - lower <= lower + factor - wanted else lower + factor
        return count if count <= n else segments

    def _overhead(self, head: KvHeadTrace, clusters: Clusters, estimated: Tensor) -> Overhead:
        work = clusters.work(head)
        assert work.scored_bytes is not None
        # the sums of values of the estimated clusters are read beside their centroids
        sums = stored_bytes(head, estimated * head.head_dim)
        return replace(work, scored_bytes=work.scored_bytes + sums)


@remembered
def _clustered(key: Tensor, count: int, segments: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Return the cluster of each key, (1, tokens), and the centroids, (1, count, head_dim)."""
    mean = key.mean(0)
    key = key - mean
    place = ((torch.arange(count, device=key.device) + 0.5) * (len(key) / count)).long()
    centroid = key[place].view(segments, -1, key.shape[1])
    length = len(key) // segments
    data = key[: length * segments].view(segments, length, -1)
    for _ in range(iterations - 1):
        label = largest_product(data, centroid)
        # a cluster without keys keeps its centroid as it is
        after = means(data, label, centroid, "zero")
        full = after.abs().amax(-1, keepdim=True) > 0
        centroid = torch.where(full, normalize(after, dim=-1), centroid)
    flat = centroid.view(1, count, -1)
    label = largest_product(key[None], flat)
    return label, means(key[None], label, flat, "keep") + mean
