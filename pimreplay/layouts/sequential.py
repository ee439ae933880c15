"""Tokens in the order in which they arrive, as AttAcc lays out a KV head."""

from dataclasses import dataclass

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import arrival
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class Sequential:
    """Token t in slot t; appends go to the end and nothing ever moves."""

    heads: Heads = "head_per_channel"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place tokens as they arrive."""
        return arrival(tokens, steps, self.heads)
