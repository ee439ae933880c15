"""Recorded: selections that were made elsewhere, replayed as they are.

For methods that live in other code: a press of kvpress, a kernel, a model with native sparse
attention. `pimreplay.selection.recording` says how the file looks, docs/recorded.md how to make
one.
"""

from dataclasses import dataclass
from pathlib import Path

from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.recording import file_sha256, groups_of, kept_tokens, overhead_of
from pimreplay.selection.visibility import budget_tokens, first_seen, seen_mask
from tracegen.base.errors import UserError


@dataclass(frozen=True, slots=True)
class Recorded:
    """Keep what a file says, whatever the budget.

    As under every policy nothing is dropped while a step sees no more tokens than the budget.
    """

    path: str = ""
    """The recording: a .npz or a .parquet file."""
    sha256: str = ""
    """Its hash: found where it is not given, so that results say what was replayed."""

    def __post_init__(self) -> None:
        if not self.path:
            raise UserError("policy recorded: no file; write recorded:path=FILE.npz")
        found = file_sha256(Path(self.path))
        if self.sha256 not in ("", found):
            raise UserError(
                f"policy recorded: {self.path}: has the hash {found}, not the given one"
            )
        object.__setattr__(self, "sha256", found)

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        """Return the recorded tokens, groups and work of one KV head."""
        path = Path(self.path)
        mask = kept_tokens(path, head)
        fits = budget_tokens(head, budget) >= head.visible - first_seen(head)
        mask[:, fits] = seen_mask(head, slice(0, head.steps))[fits]
        if not mask.any(-1).all():
            raise UserError(
                f"policy recorded: {path}: layer {head.layer}, KV head {head.kv_head}: a step "
                "keeps no token; let each step keep its own at least"
            )
        return Selection(mask, groups_of(path, head), overhead_of(path, head))
