"""Full attention: every token that a step sees. The baseline of every comparison."""

from dataclasses import dataclass

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from pimreplay.selection.visibility import seen_mask


@dataclass(frozen=True, slots=True)
class Dense:
    """Read everything; the budget is ignored."""

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return every visible token of every step."""
        mask = seen_mask(head, slice(0, head.steps))
        return Selection(mask.expand(head.q_heads, -1, -1).clone(), None, overhead(head))
