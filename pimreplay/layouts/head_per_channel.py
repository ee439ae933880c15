"""Arrival order, each KV head whole in one channel, as AttAcc places heads.

The reference of `token_interleaved`; the same as `sequential`, under the name of the comparison.
"""

from dataclasses import dataclass

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import arrival
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class HeadPerChannel:
    """Heads beyond the channels take turns; channels beyond the heads idle."""

    @property
    def heads(self) -> Heads:
        """How this layout puts KV heads on channels."""
        return "head_per_channel"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place tokens as they arrive."""
        return arrival(tokens, steps, self.heads)
