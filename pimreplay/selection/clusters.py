"""Clusters of one KV head: which exist at each step, their tokens, and whole-cluster selection."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pimreplay.records import Groups, KvHeadTrace, Overhead
from pimreplay.selection.overhead import vector_scan
from pimreplay.selection.top_k import best_first, spread
from pimreplay.selection.visibility import first_seen, seen_mask


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of one KV head in the order in which they were made."""

    groups: Groups
    centroid: Tensor
    """(clusters, head_dim)"""
    made_step: Tensor
    """Step at which each cluster exists first, (clusters,) int64, never falling."""
    clustered_tokens: Tensor
    """Tokens clustered at each step, (steps,) int64."""
    clustering_flops: Tensor
    """(steps,) int64"""

    @property
    def size(self) -> Tensor:
        """Tokens of each cluster: (clusters,) int64."""
        label = self.groups.label
        return torch.bincount(label[label >= 0], minlength=len(self.centroid))

    def existing(self, steps: Tensor) -> Tensor:
        """Return how many clusters exist at each of the steps."""
        return torch.searchsorted(self.made_step, steps, right=True)

    def work(self, head: KvHeadTrace) -> Overhead:
        """Return the work of making the clusters, and of scoring every centroid at each step."""
        scan = vector_scan(head, self.existing(torch.arange(head.steps, device=head.key.device)))
        return replace(
            scan, clustered_tokens=self.clustered_tokens, clustering_flops=self.clustering_flops
        )


class ClusterBuilder:
    """Collects clusters, segment after segment, as they are made."""

    def __init__(self, head: KvHeadTrace) -> None:
        self._head = head
        device = head.key.device
        self._segments: list[tuple[int, int, int]] = []
        self._label = torch.full((head.tokens,), -1, dtype=torch.int64, device=device)
        self._rank = torch.zeros_like(self._label)
        self._centroids: list[Tensor] = []
        self._made: list[Tensor] = []
        self._count = 0
        self._clustered = torch.zeros(head.steps, dtype=torch.int64, device=device)
        self._flops = torch.zeros(head.steps, dtype=torch.int64, device=device)

    def add(
        self,
        first: int,
        label: Tensor,
        centroid: Tensor,
        step: int,
        work_flops: int,
        order: Tensor | None = None,
    ) -> None:
        """Add equal windows side by side, clustered at `step` (-1: at prefill).

        Args:
            first: First token of the first window.
            label: Cluster of each token within its window, (windows, tokens).
            centroid: (windows, clusters, head_dim).
            step: When.
            work_flops: Arithmetic of the clustering of all these windows.
            order: Tokens of each window as stored, cluster by cluster, (windows, tokens);
                None: within a cluster in token order.
        """
        windows, n = label.shape
        clusters = centroid.shape[1]
        offset = self._count + clusters * torch.arange(windows, device=label.device)[:, None]
        self._label[first : first + windows * n] = (label + offset).flatten()
        self._rank[first : first + windows * n] = ranks(label, order).flatten()
        self._segments += [(first + i * n, first + (i + 1) * n, step) for i in range(windows)]
        self._centroids.append(centroid.flatten(0, 1))
        made = torch.full((windows * clusters,), max(step, 0), dtype=torch.int64)
        self._made.append(made.to(label.device))
        self._count += windows * clusters
        if self._head.steps:
            self._clustered[max(step, 0)] += windows * n
            self._flops[max(step, 0)] += work_flops

    def clusters(self) -> Clusters:
        """Return what was collected."""
        device = self._head.key.device
        segments = torch.tensor(self._segments, dtype=torch.int64, device=device).view(-1, 3)
        none = self._head.key.new_zeros((0, self._head.head_dim))
        return Clusters(
            groups=Groups(segments[:, 0], segments[:, 1], segments[:, 2], self._label, self._rank),
            centroid=torch.cat([none, *self._centroids]),
            made_step=torch.cat([self._label.new_zeros(0), *self._made]),
            clustered_tokens=self._clustered,
            clustering_flops=self._flops,
        )


def ranks(label: Tensor, order: Tensor | None = None) -> Tensor:
    """Return each token's place within its cluster: (windows, tokens) int64.

    Args:
        label: Cluster of each token within its window, (windows, tokens).
        order: Tokens of each window as stored, cluster by cluster; None: in token order.
    """
    if order is None:
        order = label.argsort(dim=1, stable=True)
    ordered = label.gather(1, order)
    place = torch.arange(label.shape[1], device=label.device).expand(label.shape)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    begin = torch.where(new, place, 0).cummax(dim=1).values
    return torch.empty_like(label).scatter_(1, order, place - begin)


class WholeClusters:
    """Turns cluster scores into token masks: best clusters whole, the last one cut to fit."""

    def __init__(self, head: KvHeadTrace, clusters: Clusters, always: int = 0) -> None:
        """Prepare the tables; the first `always` tokens (sinks, never clustered) are kept."""
        self._head = head
        self._clusters = clusters
        self._always = always
        label, rank = clusters.groups.label, clusters.groups.rank
        assert rank is not None
        none = len(clusters.centroid)
        self._index = torch.where(label >= 0, label, none)
        # places are small numbers: sixteen bits halve the traffic of comparing them per token
        self._small = torch.int16 if int(rank.max()) < 2**14 else torch.int32
        self._rank = rank.to(self._small)
        made = torch.cat([clusters.made_step, clusters.made_step.new_full((1,), head.steps)])
        self._made_of_token = made[self._index]  # step from which a token is clustered
        loose = (self._made_of_token > 0).nonzero()[:, 0]
        after = loose[loose >= always]
        self._first_loose = int(after[0]) if len(after) else head.tokens

    def mask(self, scores: Tensor, steps: slice, budget: Tensor) -> Tensor:
        """Select the best clusters whole, the last one cut to fill the budget.

        Args:
            scores: (heads, tile, clusters); clusters that do not exist yet are ignored.
            steps: The tile.
            budget: Tokens of each step of the tile, those kept anyway included.

        Returns:
            (heads, tile, stop) bool with stop the visible tokens of the last step.
        """
        order, size = self.ranked(scores, steps)
        room = budget - self.kept_tokens(steps)
        before = size.cumsum(-1) - size
        taken = torch.minimum(size, (room[:, None] - before).clamp_min_(0))
        return self.tokens(order, taken, steps)

    def ranked(self, scores: Tensor, steps: slice) -> tuple[Tensor, Tensor]:
        """Return the clusters from best to worst, and their tokens that a step sees.

        Both (heads, tile, clusters); clusters that do not exist yet come last with no tokens.
        """
        step = torch.arange(steps.start, steps.stop, device=scores.device)
        cluster = torch.arange(scores.shape[-1], device=scores.device)
        absent = cluster >= self._clusters.existing(step)[:, None]
        order = best_first(scores.masked_fill(absent, float("-inf")))
        size = (self._clusters.size - self._gone(steps)).masked_fill(absent, 0)
        return order, size.expand(scores.shape).gather(-1, order)

    def kept_tokens(self, steps: slice) -> Tensor:
        """Return how many tokens a tile's steps keep whatever their score: (tile,) int64."""
        sinks, loose, _ = self._kept(steps, self._head.prompt_tokens + steps.stop)
        return sinks.sum(-1) + loose.sum(-1)

    def kept_sinks(self, steps: slice) -> Tensor:
        """Return how many of them are sinks: (tile,) int64."""
        return seen_mask(self._head, steps, self._always).sum(-1)

    def tokens(self, order: Tensor, taken: Tensor, steps: slice) -> Tensor:
        """Return the tokens of the chosen clusters and those kept anyway: (heads, tile, stop).

        Args:
            order: Clusters from best to worst, (heads, tile, clusters).
            taken: How many tokens of each, in stored order.
            steps: The tile.
        """
        head, stop = self._head, self._head.prompt_tokens + steps.stop
        sinks, loose, first = self._kept(steps, stop)
        take = torch.zeros_like(taken).scatter_(-1, order, taken)
        if head.sliding_window is not None:
            take = torch.where(take > 0, take + self._gone(steps), 0)  # the first places left
        zero = take.new_zeros((*take.shape[:-1], 1))
        limit = torch.cat([take, zero], dim=-1).to(self._small)
        mask = spread(limit, self._index[:stop]) > self._rank[:stop]
        if head.sliding_window is not None:
            mask &= seen_mask(head, steps, stop)
        mask[..., : self._always] = sinks
        mask[..., first:] |= loose
        return mask

    def _kept(self, steps: slice, stop: int) -> tuple[Tensor, Tensor, int]:
        """Return what is kept whatever its score.

        Which sinks are seen, (tile, always); which tokens from `first` on are seen and not
        clustered yet, (tile, stop - first); and `first`.
        """
        first = min(self._first_loose, stop)
        step = torch.arange(steps.start, steps.stop, device=self._index.device)
        seen = seen_mask(self._head, steps, stop)
        loose = seen[:, first:] & (self._made_of_token[first:stop] > step[:, None])
        return seen[:, : self._always], loose, first

    def _gone(self, steps: slice) -> Tensor:
        """Return how many tokens of each cluster left the sliding window: (tile or 1, clusters)."""
        size = self._clusters.size
        if self._head.sliding_window is None:
            return torch.zeros_like(size)[None]
        first = first_seen(self._head)[steps].cpu()
        base, end = int(first[0]), int(first[-1])
        index = self._index.cpu()
        one_hot = torch.zeros((end - base, len(size) + 1), dtype=torch.int64)
        one_hot.scatter_(1, index[base:end, None], 1)
        gone = torch.bincount(index[:base], minlength=len(size) + 1)
        total = torch.cat([gone[None], gone + one_hot.cumsum(0)])
        return total[first - base][:, :-1].to(size.device)
