"""Block tree: clusters of exactly one block each, so that what is selected is all that is read.

A method of this project, unpublished. STARC's clusters have any size and begin anywhere, so it
reads more blocks than its tokens would fill. Here all keys of the prompt are split at the median,
again and again, until a part fills one block of the memory. Two keys are as far apart as the
logits that the prompt's last queries give to their directions.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.clusters import ClusterBuilder, Clusters, WholeClusters
from pimreplay.selection.halving import flops, halved
from pimreplay.selection.once import once
from pimreplay.selection.remembered import remembered
from pimreplay.selection.top_k import Gqa, empty_mask, ranking_query, share
from pimreplay.selection.visibility import budget_tokens, tiles
from pimreplay.variants import MOST_ITERATIONS, at_least, at_most
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class BlockTree:
    """Keep the sinks, the tokens that are in no leaf yet, and the best leaves, all of them whole.

    Sinks and loose tokens count inside the budget and are kept whole even where they are more.
    Leaves are ranked by the product of the query with their mean key. The tokens of a prompt that
    fill no leaf wait for the first decoded ones.
    """

    usual_layout: ClassVar[str] = "clustered:tail=arrival"

    leaf_tokens: int = 16
    """Tokens of a leaf: a block of the memory."""
    sinks: int = 16
    """First tokens, in no leaf and always kept; whole blocks."""
    tail_tokens: int = 64
    """Loose tokens that become a tree of their own; whole blocks."""
    split: Literal["queries", "keys"] = "queries"
    """Where keys differ: in the logits of the prompt's last queries, or in their directions alone,
    which needs no queries."""
    iterations: int = 8
    """Of the power iteration that finds the direction of a split."""
    gqa: Gqa = "per_query_head"
    """`group_shared` ranks by the scores summed over the group."""

    def __post_init__(self) -> None:
        at_least(self, leaf_tokens=1, sinks=0, tail_tokens=1, iterations=1)
        at_most(self, iterations=MOST_ITERATIONS)
        for name in ("sinks", "tail_tokens"):
            tokens = getattr(self, name)
            if tokens % self.leaf_tokens:
                raise UserError(
                    f"block_tree: {name} is {tokens}; give a multiple of leaf_tokens, "
                    f"{self.leaf_tokens}"
                )

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return sinks, loose tokens and the best leaves of every step."""
        leaves = once(head, self, self.cluster)
        whole = WholeClusters(head, leaves, min(self.sinks, head.prompt_tokens))
        now = budget_tokens(head, budget)
        mask = empty_mask(head, self.gqa)
        query = ranking_query(head, self.gqa)
        for steps in tiles(head):
            order, size = whole.ranked(query[:, steps] @ leaves.centroid.T, steps)
            room = now[steps] - whole.kept_tokens(steps)
            taken = torch.where(size.cumsum(-1) <= room[:, None], size, 0)
            tokens = whole.tokens(order, taken, steps)
            mask[:, steps, : head.prompt_tokens + steps.stop] = tokens
        return Selection(share(mask, self.gqa, head.q_heads), leaves.groups, leaves.work(head))

    def cluster(self, head: KvHeadTrace) -> Clusters:
        """Return every leaf made during the trace, whatever the budget."""
        queries = self._queries(head)
        builder = ClusterBuilder(head)
        first = min(self.sinks, head.prompt_tokens)
        begin = first + (head.prompt_tokens - first) // self.leaf_tokens * self.leaf_tokens
        self._add(builder, head, queries, first, begin, -1)
        while begin + self.tail_tokens <= head.tokens:
            stop = begin + self.tail_tokens
            step = max(stop - head.prompt_tokens - 1, -1)
            self._add(builder, head, queries, begin, stop, step)
            begin = stop
        return builder.clusters()

    def _queries(self, head: KvHeadTrace) -> Tensor | None:
        """Return the queries that decide what is far, (queries, head_dim); None: none do.

        Raises:
            UserError: they were not captured.
        """
        if self.split == "keys":
            return None
        if head.prompt_query is None or not head.prompt_query.numel():
            raise UserError(
                f"policy block_tree: layer {head.layer}, KV head {head.kv_head}: it needs the last "
                "prompt queries and the trace holds none; capture the model again with `tracegen "
                "capture`, or give block_tree:split=keys"
            )
        return head.prompt_query.flatten(0, 1)

    def _add(
        self,
        builder: ClusterBuilder,
        head: KvHeadTrace,
        queries: Tensor | None,
        begin: int,
        stop: int,
        step: int,
    ) -> None:
        """Make the tokens of one run into leaves."""
        if begin == stop:
            return
        key, dim = head.key[begin:stop], head.head_dim
        order = _order(key, queries, self.leaf_tokens, self.iterations)
        leaf = torch.empty_like(order)
        leaf[order] = torch.arange(len(order), device=order.device) // self.leaf_tokens
        centroid = key[order].view(1, -1, self.leaf_tokens, dim).mean(2)
        work = flops(len(key), self.leaf_tokens, dim, self.iterations)
        if queries is not None:
            work += 2 * (len(key) + len(queries)) * dim**2
        builder.add(begin, leaf[None], centroid, step, work)


@remembered
def _order(key: Tensor, queries: Tensor | None, leaf_tokens: int, iterations: int) -> Tensor:
    """Return the tokens leaf by leaf."""
    points = normalize(key, dim=-1)
    if queries is not None:
        points = points @ _logit_metric(queries)
    return halved(points, leaf_tokens, iterations)


def _logit_metric(queries: Tensor) -> Tensor:
    """Return L with |(a - b) L|^2 = the mean over queries of (query . (a - b))^2, nearly.

    A thousandth of the mean square of an element is added to every direction: fewer queries than
    elements leave some without any.
    """
    second = queries.T @ queries / len(queries)
    ridge = 1e-3 * second.diagonal().mean().clamp_min(1e-30)
    root: Tensor = torch.linalg.cholesky(second + ridge * torch.eye(len(second)).to(second.device))
    return root
