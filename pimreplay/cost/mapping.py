"""The contract of a mapping: where a KV head lies in a device, and what reading it costs.

Keys and values have a region each, since what one access reads differs between them: a *block* is
the tokens that it reads. A replay finds the touched blocks of each region and asks for their cost;
everything else about a memory stays in its mapping. One file each, in `pimreplay.mappings`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.overheads import Amount, Cost, OverheadCost, clustering_cost
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import StepCost
from pimreplay.hardware.device import Device
from tracegen.base.errors import UserError

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Region:
    """Where the keys, or the values, of one KV head lie in a channel."""

    block_tokens: int
    """Tokens that one access reads, a lane each."""
    blocks_per_row: int
    """Blocks that lie in the same row or rows."""


@dataclass(frozen=True, slots=True)
class Mapping(ABC):
    """One KV head in one device.

    Raises:
        UserError: the device cannot hold it.
    """

    device: Device
    head_dim: int
    """Elements of a key."""
    kv_bits: int
    """Bits of an element as the device stores it."""

    together: ClassVar[bool]
    """Whether a block is read once for all query heads of a group that want it, or once each."""
    phases: ClassVar[dict[str, str]]
    """What the parts of a step's cycles are here: `score`, `softmax`, `context`, `move`."""

    @classmethod
    @abstractmethod
    def read_device(cls, path: Path, values: dict[str, Any]) -> Device:
        """Return the device that a file's content describes.

        Raises:
            UserError: everything that is wrong with it; `path` says where it stands.
        """

    @classmethod
    @abstractmethod
    def check(cls, device: Device) -> list[Check]:
        """Check that the device does what its numbers promise."""

    @property
    @abstractmethod
    def keys(self) -> Region:
        """Where keys lie."""

    @property
    @abstractmethod
    def values(self) -> Region:
        """Where values lie."""

    @abstractmethod
    def cost(self, keys: BoolArray, values: BoolArray, q_heads: int, fidelity: str) -> StepCost:
        """Return what a step costs in one channel.

        Args:
            keys: Blocks of keys that each reading needs, (readings, points, n_blocks): one reading
                for the whole group where `together`, else one a query head.
            values: The same of values.
            q_heads: Query heads of the group.
            fidelity: `analytic` or `command`.
        """

    @abstractmethod
    def requests(
        self, keys: BoolArray, values: BoolArray, q_heads: int
    ) -> Iterator[tuple[str, str]]:
        """Yield (word, place) of what one point, of (readings, n_blocks), sends to a channel."""

    @abstractmethod
    def kv_head_bytes(self, tokens: int) -> int:
        """Return the bytes of the rows that so many tokens take, keys and values."""

    @abstractmethod
    def scoring(self, vectors: Amount, scored_bytes: Amount | None) -> Cost:
        """Return what multiplying vectors of metadata with queries costs."""

    @abstractmethod
    def remapping(self, tokens: Amount) -> Cost:
        """Return what writing the keys and values of tokens elsewhere costs."""

    def pace_cycles(self) -> tuple[int, int]:
        """Return the cycles of one more block of keys in a row, and what another row adds."""
        per_row = self.keys.blocks_per_row
        places = np.zeros((3, 4 * per_row), dtype=np.bool_)
        places[:, 0] = True
        places[1, min(1, per_row - 1)] = True
        places[2, 2 * per_row] = True
        none = np.zeros((1, 3, 1), dtype=np.bool_)
        one, in_row, beyond = self.cost(places[None], none, 1, "analytic").score_cycles.tolist()
        block = in_row - one if per_row > 1 else beyond - one
        return block, beyond - one - block

    def attention(self, tokens: int, read: Any, *, refresh: bool) -> dict[str, Any]:
        """Return cycles by phase, and blocks by region, of one query head's attention.

        `read` (tokens read,) are ascending positions; None for all, as public programs do it.

        Raises:
            UserError: `refresh` is False and the device does not let that be turned off.
        """
        if not refresh:
            raise UserError(
                f"{self.device.name}: has no refresh to turn off; leave out --no-refresh"
            )
        mask = np.ones(tokens, dtype=np.bool_)
        if read is not None:
            mask[:] = False
            mask[read] = True
        keys, values = (
            np.logical_or.reduceat(mask, np.arange(0, tokens, one.block_tokens))[None, None]
            for one in (self.keys, self.values)
        )
        cost = self.cost(keys, values, 1, "command")
        phases = {
            title: int(getattr(cost, f"{name}_cycles")[0]) for name, title in self.phases.items()
        }
        regions = {"keys": {"blocks": int(keys.sum())}, "values": {"blocks": int(values.sum())}}
        return {"phases": phases, "regions": regions}

    @abstractmethod
    def facts(self) -> dict[str, int]:
        """Return the numbers that a results folder records."""

    def overheads(
        self,
        *,
        scored_vectors: Amount | None,
        scored_bytes: Amount | None,
        clustering_flops: Amount | None,
        moved_tokens: Amount | None,
    ) -> OverheadCost:
        """Return the cost of the work beside attention; amounts are (points,), None for unknown."""
        scoring: Cost = (None, None)
        remap: Cost = (None, None)
        if scored_vectors is not None:
            scoring = self.scoring(scored_vectors, scored_bytes)
        if moved_tokens is not None:
            remap = self.remapping(moved_tokens)
        return OverheadCost(*scoring, *clustering_cost(self.device, clustering_flops), *remap)
