"""A replayed policy inside a whole system: what it reads and does, as tokens of dense attention.

A replay times one KV head of its trace's model at its trace's context; a system has other models,
stacks and contexts. Dense attention links the two: a cost of the replay becomes the number of
tokens that dense attention would read in the same time (or for the same energy) on the same
device, and the system's own dense attention is then asked for that many tokens. What stays the same
while the context grows, and what grows with it, is written down in `docs/system.md`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a step in the memory, in tokens of dense attention."""

    attention_tokens: float
    """Of a budget in tokens; 0 where `attention_ratio` says it."""
    attention_ratio: float
    """Of the context, where the budget is a share of it."""
    scoring_ratio: float
    """Of the context: metadata grow with it."""
    remap_tokens: float
    prompt_remap_ratio: float
    """Of the prompt, once."""

    def tokens(self, context: int, prompt: int, steps: int) -> int:
        """Return the tokens of a step; a policy never reads more than the context."""
        attention = min(self.attention_tokens + self.attention_ratio * context, context)
        beside = self.scoring_ratio * context + self.remap_tokens
        return max(1, round(attention + beside + self.prompt_remap_ratio * prompt / steps))


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clustering on the GPUs, of one KV head of one layer."""

    step: float
    prompt_token: float
    """Of each token of the prompt, once."""

    def mean(self, prompt: int, steps: int) -> float:
        """Return what a step takes on the average."""
        return self.step + self.prompt_token * prompt / steps


@dataclass(frozen=True, slots=True)
class Replayed:
    """One policy on one layout at one budget, measured."""

    described: dict[str, str]
    dense_layers: int
    time: Work
    energy: Work
    clustering_ns: Clustering
    clustering_pj: Clustering
    group: int
    """Query heads of a KV head in the trace."""

    def row(self) -> dict[str, Any]:
        """Return what was read of the results as one JSON object."""
        return {
            **self.described,
            "dense_layers": self.dense_layers,
            "tokens_of_dense_attention": {
                name: {field: getattr(work, field) for field in Work.__slots__}
                for name, work in (("time", self.time), ("energy", self.energy))
            },
            "clustering_ns": self.clustering_ns.step,
            "clustering_pj": self.clustering_pj.step,
        }
