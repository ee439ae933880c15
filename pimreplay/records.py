"""What passes between the stages of a replay: one KV head's trace, and what a policy made of it.

Everything here covers **all decode steps of one (layer, kv_head) at once**: tensors, never one
object per step or token. Plain data: shapes, and what a layer makes of products.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class KvHeadTrace:
    """Everything that one (layer, kv_head) of a trace offers to a policy.

    Floating tensors are float32, all on one device. `q_heads` are the query heads of this KV
    head's group, `steps` the decode steps, `tokens` = prompt_tokens + steps the cache positions.
    """

    layer: int
    kv_head: int
    query: "Tensor"
    """Post-RoPE queries, (q_heads, steps, head_dim)."""
    key: "Tensor"
    """Post-RoPE keys, (tokens, head_dim)."""
    value: "Tensor"
    """Values, (tokens, head_dim)."""
    prompt_tokens: int
    softmax_scale: float
    """Factor on query . key before the softmax."""
    soft_cap: float | None
    """Logits become cap * tanh(logits / cap); None: no cap."""
    sliding_window: int | None
    """A step sees only the last so many tokens; None: all."""
    prompt_query: "Tensor | None" = None
    """The last prompt queries, (q_heads, n, head_dim); None: not captured."""
    prompt_attention: "Tensor | None" = None
    """Sum over all prompt queries of the attention weights, (q_heads, prompt_tokens)."""
    prompt_attention_decayed: "Tensor | None" = None
    """The same sum, decayed by 0.98 a prompt query."""
    sink_logit: "Tensor | None" = None
    """Logit of each query head that joins its softmax beside the tokens' and has no value,
    (q_heads,); None: none."""
    seed: int = 0
    """Seed of everything random that a policy does with this KV head."""
    kv_bits: int = 16
    """Bits of an element as the device stores keys, values and what is scored beside them."""

    def logits(self, products: "Tensor") -> "Tensor":
        """Return products of queries and keys as attention logits, in place: scaled and capped."""
        products *= self.softmax_scale
        if self.soft_cap is not None:
            products.div_(self.soft_cap).tanh_().mul_(self.soft_cap)
        return products

    def softmax(self, logits: "Tensor") -> "Tensor":
        """Return the attention weights of logits (q_heads, ..., n), less what a sink takes."""
        import torch

        if self.sink_logit is None:
            return torch.softmax(logits, dim=-1)
        return torch.cat([logits, self.sinks(logits)], dim=-1).softmax(-1)[..., :-1]

    def sinks(self, logits: "Tensor") -> "Tensor":
        """Return each query head's sink logit beside logits (q_heads, ..., n): (q_heads, ..., 1).

        -inf where there is none: it then adds nothing to a softmax.
        """
        if self.sink_logit is None:
            return logits.new_full((*logits.shape[:-1], 1), float("-inf"))
        shape = (-1, *[1] * (logits.ndim - 1))
        return self.sink_logit.view(shape).expand(*logits.shape[:-1], 1)

    @property
    def q_heads(self) -> int:
        """Query heads that share this KV head."""
        return int(self.query.shape[0])

    @property
    def steps(self) -> int:
        """Decode steps."""
        return int(self.query.shape[1])

    @property
    def tokens(self) -> int:
        """Cache positions at the last step."""
        return int(self.key.shape[0])

    @property
    def head_dim(self) -> int:
        """Elements of one key."""
        return int(self.key.shape[1])

    @property
    def visible(self) -> "Tensor":
        """Return the tokens in the cache at each step, its own included: (steps,) int64.

        The sliding window is not applied here: it bounds from below, this bounds from above.
        """
        import torch

        steps = torch.arange(self.steps, dtype=torch.int64, device=self.key.device)
        return steps + self.prompt_tokens + 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Which tokens a policy knows to belong together: data for layouts.

    Append-only segments of tokens that are put in order together. Segment i covers the tokens
    [start[i], stop[i]) and is ordered at decode step `step[i]`, or at prefill when that is -1.
    """

    start: "Tensor"
    """First token of each segment, (segments,) int64."""
    stop: "Tensor"
    """One past the last token of each segment, (segments,) int64."""
    step: "Tensor"
    """Decode step at which the segment is ordered, -1 at prefill, (segments,) int64."""
    label: "Tensor"
    """Global cluster id of each token, increasing over segments, -1 never clustered, (tokens,)."""
    rank: "Tensor | None" = None
    """Place of each token within its cluster as the policy stores it, (tokens,); None: token order.
    """


@dataclass(frozen=True, slots=True)
class Overhead:
    """Work beside reading the selected keys and values, per decode step, each (steps,).

    Counts are summed over the query heads of the group. A zero says "none"; None says "unknown".
    Work done at prefill is charged to step 0.
    """

    scored_vectors: "Tensor | None"
    """Metadata vectors of head_dim (centroids, page bounds) multiplied with a query."""
    scored_bytes: "Tensor | None"
    """Metadata bytes read."""
    clustered_tokens: "Tensor | None"
    """Tokens clustered at this step."""
    clustering_flops: "Tensor | None"
    """Host floating-point operations of that clustering."""
    moved_tokens: "Tensor | None"
    """Tokens whose key and value the policy itself rewrites at this step (layouts add theirs)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a policy reads of one KV head over all steps."""

    mask: "Tensor"
    """Attended tokens, (q_heads, steps, tokens) bool in token order, never beyond the visible."""
    groups: Groups | None
    """Tokens that belong together, for layouts; None: the policy knows none."""
    overhead: Overhead
    output: "Tensor | None" = None
    """The policy's own attention output where it is not a plain softmax over the mask."""
