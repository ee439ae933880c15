"""What is asked of one attention layer, and which of it a device can do."""

from dataclasses import dataclass

from pimreplay.hardware.device import Hardware
from pimreplay.hardware.levels import Level
from tracegen.base.errors import UserError

ARTEFACT_MAX_TOKENS = 409600
"""Cache length that STARC's artefact leaves room for."""
MOST = 1 << 32


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention layer of one decode step on one stack."""

    head_dim: int
    heads: int
    tokens: int
    element_bytes: int = 2
    kv_budget: int | None = None
    """Tokens read, rounded up to blocks; None or 0: all of them."""
    max_tokens: int | None = None
    """Cache length that addresses leave room for; None: as the generators' defaults."""
    cluster_step: bool = False
    """Prepend STARC's clustering and rewriting of all tokens, as its artefact costs them."""

    @property
    def read_tokens(self) -> int:
        """Tokens whose keys and values are read."""
        if not self.kv_budget:
            return self.tokens
        return min(-(-self.kv_budget // 16), -(-self.tokens // 16)) * 16

    def check(self, level: Level) -> None:
        """Raise `UserError` with everything that is wrong for a device of this level."""
        problems = [
            f"{name} = {value} must be at least 1"
            for name, value in (
                ("--head-dim", self.head_dim),
                ("--heads", self.heads),
                ("--tokens", self.tokens),
            )
            if value < 1
        ]
        problems += [
            f"{name} is above {MOST:,}, the largest value that can be computed"
            for name, value in (
                ("--head-dim", self.head_dim),
                ("--heads", self.heads),
                ("--tokens", self.tokens),
                ("--max-tokens", self.max_tokens or 0),
                ("--kv-budget", self.kv_budget or 0),
            )
            if value > MOST
        ]
        if self.element_bytes not in (1, 2, 4):
            problems.append(f"--bytes-per-element = {self.element_bytes}; allowed: 1, 2, 4")
        if self.kv_budget is not None and self.kv_budget < 0:
            problems.append(f"--kv-budget = {self.kv_budget} must not be negative; 0 reads all")
        if self.max_tokens is not None and self.max_tokens < self.tokens:
            problems.append(f"--max-tokens = {self.max_tokens} is below --tokens = {self.tokens}")
        if self.cluster_step and level.name != "bank":
            problems.append("--cluster-step: the artefact has it for --mode bank only")
        if self.cluster_step and self.heads > 16:
            problems.append(
                f"--cluster-step with --heads {self.heads}: the artefact writes no valid trace "
                "for more than one round of 16 KV heads; use at most 16"
            )
        if self.cluster_step and self.tokens > ARTEFACT_MAX_TOKENS:
            problems.append(
                f"--cluster-step with --tokens {self.tokens:,}: the artefact has room for "
                f"{ARTEFACT_MAX_TOKENS:,}"
            )
        if problems:
            raise UserError("; ".join(problems))


def refuse_overfull(hardware: Hardware, shape: AttentionShape) -> None:
    """Refuse keys and values that the fullest channel does not hold."""
    org = hardware.organisation
    heads = -(-shape.heads // org.channels)
    need = 2 * heads * shape.tokens * shape.head_dim * shape.element_bytes
    room = org.capacity_bytes // org.channels
    if need > room:
        raise UserError(
            f"{heads:,} KV heads of {shape.tokens:,} tokens lie in a channel and need "
            f"{need:,} bytes for keys and values; a channel has {room:,}; "
            "use fewer --tokens or --heads"
        )
