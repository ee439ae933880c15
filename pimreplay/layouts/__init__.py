"""Layouts: in which slot of a KV head's memory each token lies. One file each.

A layout is a frozen dataclass with one method

    place(groups, tokens, prompt_tokens, steps, block_tokens) -> Placement

It knows nothing of policies; `groups` says as data which tokens belong together.
`pimreplay.placement.blocks` says what slots, blocks and `heads` are.
"""

import sys
from typing import Protocol, cast

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.records import Groups
from pimreplay.variants import load_variant


class Layout(Protocol):
    """What every layout offers."""

    @property
    def heads(self) -> Heads:
        """How the layout puts KV heads on channels."""

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place the tokens of one KV head.

        Args:
            groups: Tokens that belong together; None: the policy knows none.
            tokens: Cache positions at the last step.
            prompt_tokens: How many of them are there before the first step.
            steps: Decode steps.
            block_tokens: Lanes of a block.
        """


def load_layout(text: str) -> Layout:
    """Build the layout that `NAME[:param=value,...]` names.

    Raises:
        UserError: an unknown name or parameter (with the nearest known one), or a bad value.
    """
    return cast(Layout, load_variant(sys.modules[__name__], "layout", text))
