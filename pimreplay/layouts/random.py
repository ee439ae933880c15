"""Tokens anywhere: the worst case for block and row locality."""

from dataclasses import dataclass

import torch

from pimreplay.placement.blocks import Heads, Placement
from pimreplay.placement.epochs import fixed
from pimreplay.records import Groups


@dataclass(frozen=True, slots=True)
class Random:
    """The prompt's tokens shuffled among their slots, the decoded ones among theirs.

    The two are apart so that a dense read at an early step does not pay for tokens to come.
    """

    seed: int = 0
    heads: Heads = "head_per_channel"

    def place(
        self, groups: Groups | None, tokens: int, prompt_tokens: int, steps: int, block_tokens: int
    ) -> Placement:
        """Place tokens at random."""
        generator = torch.Generator().manual_seed(self.seed)
        prompt = torch.randperm(prompt_tokens, generator=generator)
        decoded = torch.randperm(tokens - prompt_tokens, generator=generator)
        return fixed(torch.cat([prompt, decoded + prompt_tokens]), steps, self.heads)
