"""Selection policies: which tokens each decode step reads. One file each, its stem is the name.

A policy is a frozen dataclass whose fields are its parameters, with one method

    select(head: KvHeadTrace, budget: Budget) -> Selection

for all decode steps of one (layer, kv_head) at once. It knows nothing of banks or layouts. Nothing
is dropped while a step sees no more tokens than the budget. In a sliding-window layer a step sees
only its window, and the budget is taken of that.
"""

import sys
from typing import Protocol, cast

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.variants import load_variant


class Policy(Protocol):
    """What every policy offers."""

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return what each step reads.

        Raises:
            UserError: the trace lacks what the policy needs, or a parameter does not fit it.
        """


def load_policy(text: str) -> Policy:
    """Build the policy that `NAME[:param=value,...]` names.

    Raises:
        UserError: an unknown name or parameter (with the nearest known one), or a bad value.
    """
    return cast(Policy, load_variant(sys.modules[__name__], "policy", text))
