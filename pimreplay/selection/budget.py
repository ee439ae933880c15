"""How many tokens a policy may read at a step: a count, or a share of what the step sees.

What counts inside the budget (tail, sinks, recent window) is the policy's business and written in
its docstring and in docs/policies.md.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class Budget:
    """A token count or a ratio in (0, 1]; exactly one of the two is set."""

    count_tokens: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.count_tokens is None) == (self.ratio is None):
            raise UserError("budget: give either a number of tokens or a ratio, not both or none")
        if self.count_tokens is not None and self.count_tokens < 1:
            raise UserError(
                f"budget: {self.count_tokens} tokens leave nothing to attend to; give at least 1"
            )
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise UserError(
                f"budget: a ratio of {self.ratio:g} is outside 0..1; "
                "give a share of the context such as 0.1 or 10%"
            )

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read `1024` (tokens), `0.1` (ratio; always with a point) or `10%`.

        Raises:
            UserError: anything else, a budget of zero, a ratio beyond 1.
        """
        text = str(text).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return cls(count_tokens=int(text))
        if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)%", text):
            return cls(ratio=float(text[:-1]) / 100)
        if re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)", text):
            return cls(ratio=float(text))
        raise UserError(
            f"budget: {text[:40]!r} is neither tokens (1024) nor a ratio (0.1 or 10%); give one of "
            "them, or a schedule (see docs/policies.md)"
        )

    def tokens(self, visible: Tensor) -> Tensor:
        """Return the budget of each step in tokens, at least 1: (steps,) int64.

        Args:
            visible: Tokens that each step may see, (steps,) int64.
        """
        if self.ratio is None:
            return torch.full_like(visible, self.count_tokens or 1, dtype=torch.int64)
        # a ten-thousandth of a token forgives the rounding of 0.1 * 4100 = 409.99999999999994
        return (visible.double() * self.ratio + 1e-4).floor().long().clamp_min(1)

    def of(self, layer: int, kv_head: int) -> "Budget":
        """Return the budget of a KV head: one for all."""
        return self

    def check(self, context_tokens: int) -> None:
        """Refuse a budget of more tokens than the trace's context holds at its last step.

        Raises:
            UserError: the budget is beyond the context.
        """
        if self.count_tokens is not None and self.count_tokens > context_tokens:
            raise UserError(
                f"budget: {self.count_tokens} tokens are beyond the context of {context_tokens} "
                "tokens; give at most that, or a ratio"
            )

    def __str__(self) -> str:
        return str(self.count_tokens) if self.ratio is None else f"{self.ratio:g}"
