"""MagicPIG: tokens sampled by hash collisions, their weights corrected for the sampling.

Chen et al., "MagicPIG: LSH Sampling for Efficient LLM Generation", ICLR 2025 (arXiv 2410.16179,
section 4, algorithm 1); behaviour as Infini-AI-Lab/MagicPIG @ ac9aa36,
evaluations/RULER/pred/cache_ref.py (its random projections differ from run to run; here they follow
the seed).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pimreplay.records import KvHeadTrace, Overhead, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.once import once
from pimreplay.selection.overhead import overhead
from pimreplay.selection.top_k import empty_mask, top_mask
from pimreplay.selection.visibility import budget_tokens, first_seen, logits, seen_mask, tiles
from pimreplay.variants import at_least, at_most

CACHED_KEYS = 4096
INDEX_BYTES = 4
"""A token number in a hash bucket."""


@dataclass(frozen=True, slots=True)
class MagicPIG:
    """Keep sinks, the end of the prompt, all decoded tokens, and whatever collides.

    How many collide follows from `bits` and `tables`: the budget does not bound it, it only says
    up to which context nothing is dropped. With `limit=budget` the tokens that collide in most
    tables are kept until the budget is full, static ones inside it (not in the paper).
    """

    bits: int = 10
    """Hash bits of a table (K)."""
    tables: int = 150
    """Hash tables (L)."""
    collisions: int = 2
    """A token is sampled when it collides with the query in at least so many tables."""
    sinks: int = 4
    local_tokens: int = 64
    """Last tokens of the prompt, always kept."""
    limit: Literal["none", "budget"] = "none"

    def __post_init__(self) -> None:
        at_least(self, bits=1, tables=1, collisions=1, sinks=0, local_tokens=1)
        at_most(self, bits=15, tables=255)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return static and sampled tokens, and the attention output with corrected weights."""
        first, last = self._hashed(head)
        hashed, plane, code = once(head, self, self._index)
        now = budget_tokens(head, budget)
        seen = head.visible - first_seen(head)
        mask = empty_mask(head)
        hits = torch.zeros(head.steps, dtype=torch.int64, device=head.key.device)
        output = torch.empty_like(head.query)
        for steps in tiles(head):
            count = self._collide(self._code(head.query[:, steps], plane), code)
            hits[steps] = count.sum(dim=(0, 2), dtype=torch.int64)
            part = seen_mask(head, steps, head.prompt_tokens + steps.stop)
            part = part.expand(head.q_heads, -1, -1).clone()
            whole = (now >= seen)[steps, None]
            sampled = part[..., first:last].logical_and_((count >= self.collisions) | whole)
            if self.limit == "budget":
                free = now[steps] - (part[0].sum(-1) - sampled[0].sum(-1))
                score = count.float().masked_fill_(~sampled, float("-inf"))
                sampled &= top_mask(score, free.clamp_min(0))
            mask[:, steps, : part.shape[-1]] = part
            exact = logits(head, steps).masked_fill_(~part, float("-inf"))
            self._correct(exact[..., first:last], sampled & ~whole, head.query[:, steps], hashed)
            output[:, steps] = head.softmax(exact) @ head.value[: exact.shape[-1]]
        return Selection(mask, None, self._overhead(head, last - first, hits), output)

    def _hashed(self, head: KvHeadTrace) -> tuple[int, int]:
        """Return the first and one past the last token that are in the hash tables."""
        first = min(self.sinks, head.prompt_tokens)
        return first, max(first, head.prompt_tokens - self.local_tokens)

    def _index(self, head: KvHeadTrace) -> tuple[Tensor, Tensor, Tensor]:
        """Return the centred keys, the random projections and the codes, (tables, keys)."""
        first, last = self._hashed(head)
        key = head.key[first:last]
        hashed = key - key.mean(0) if last > first else key
        random = torch.Generator().manual_seed(head.seed)
        plane = torch.randn((head.head_dim, self.tables * self.bits), generator=random)
        plane = plane.to(key.device)
        return hashed, plane, self._code(hashed, plane).T.contiguous()

    def _code(self, vectors: Tensor, plane: Tensor) -> Tensor:
        """Return the SimHash code in each table: (..., tables) int16."""
        power = 2 ** torch.arange(self.bits, dtype=torch.int16, device=plane.device)
        codes = []
        # one table's bits at a time would be slow, all at once large: sixteen tables
        for begin in range(0, self.tables, 16):
            columns = plane[:, begin * self.bits : (begin + 16) * self.bits]
            bit = (vectors @ columns > 0).unflatten(-1, (-1, self.bits))  # type: ignore[no-untyped-call]
            codes.append((bit * power).sum(-1, dtype=torch.int16))
        return torch.cat(codes, dim=-1)

    def _collide(self, query: Tensor, code: Tensor) -> Tensor:
        """Count the tables in which query and key fall together: (q_heads, tile, hashed) uint8.

        In slices of keys that stay in the cache from one table to the next.
        """
        wanted = query.movedim(-1, 0)[..., None].contiguous()  # (tables, q_heads, tile, 1)
        parts = [
            _matches(wanted, code[:, first : first + CACHED_KEYS])
            for first in range(0, code.shape[1], CACHED_KEYS)
        ]
        none = torch.zeros((*query.shape[:2], 0), dtype=torch.uint8, device=query.device)
        return torch.cat([none, *parts], dim=-1)

    def _correct(self, scores: Tensor, sampled: Tensor, query: Tensor, hashed: Tensor) -> None:
        """Subtract the log of the chance of being sampled from the sampled scores, in place."""
        q_head, step, key = sampled.nonzero(as_tuple=True)
        query, hashed = normalize(query, dim=-1), normalize(hashed, dim=-1)
        # a full product costs less than gathering two vectors for each of so many pairs
        cosine = (query @ hashed.T)[q_head, step, key]
        same = 1 - cosine.clamp_(-1, 1).arccos_() / math.pi  # chance that one bit agrees
        table = same.double().pow_(self.bits)
        missed = torch.zeros_like(table)
        for hit in range(self.collisions):
            ways = math.comb(self.tables, hit)
            missed += ways * table**hit * (1 - table) ** (self.tables - hit)
        scores[q_head, step, key] -= (1 - missed + 1e-4).log_().float()

    def _overhead(self, head: KvHeadTrace, hashed: int, hits: Tensor) -> Overhead:
        planes = self.tables * self.bits
        indexed = torch.zeros_like(hits)
        indexed[:1] = hashed
        return overhead(
            head,
            scored_vectors=torch.full_like(hits, planes * head.q_heads),
            scored_bytes=hits * INDEX_BYTES + planes * head.head_dim * head.kv_bits // 8,
            clustered_tokens=indexed,
            clustering_flops=indexed * 2 * planes * head.head_dim,
        )


def _matches(query: Tensor, key: Tensor) -> Tensor:
    """Count equal codes over the tables: (tables, heads, tile, 1), (tables, n) -> uint8."""
    shape = (*query.shape[1:3], key.shape[1])
    if query.device.type != "cpu":
        count = torch.zeros(shape, dtype=torch.uint8, device=query.device)
        for wanted, have in zip(query, key, strict=True):
            count += wanted == have
        return count
    # numpy compares small integers with vector instructions: several times faster than torch
    total, same = np.zeros(shape, dtype=np.uint8), np.empty(shape, dtype=np.bool_)
    for one, other in zip(query.numpy(), key.numpy(), strict=True):
        np.equal(one, other, out=same)
        np.add(total, same.view(np.uint8), out=total)
    return torch.from_numpy(total)
