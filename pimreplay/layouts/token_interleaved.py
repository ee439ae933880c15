"""Arrival order, the blocks of every KV head dealt out over all channels.

No channel idles when there are fewer KV heads than channels, and a sparse step is spread by block
instead of by head; each channel opens rows for every head, its partial softmax and context sums
must be joined over channels, and how even a step is depends on which blocks it touches.
"""

from dataclasses import dataclass

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import arrival
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class TokenInterleaved:
    """Block b of a KV head lies in channel b mod channels; see `over_channels`."""

    @property
    def heads(self) -> Heads:
        """How this layout puts KV heads on channels."""
        return "token_interleaved"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place tokens as they arrive."""
        return arrival(tokens, steps, self.heads)
