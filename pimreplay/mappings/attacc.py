"""AttAcc: a token a lane, softmax and probabilities inside the stack, at three PIM levels.

A block is the tokens that one MAC on all lanes multiplies, the same of keys and of values; an open
row serves all query heads of a group. Source: scale-snu/attacc_simulator @ c600051, trace_gen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from pimreplay.bank_model.commands import REQUEST_WORDS
from pimreplay.cost import overheads, selfcheck
from pimreplay.cost.command_fidelity import HeadStream
from pimreplay.cost.mapping import BoolArray, Mapping, Region
from pimreplay.cost.overheads import Amount, Cost
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import StepCost, step_cost
from pimreplay.hardware import reading
from pimreplay.hardware.device import Device, Geometry, Hardware


@dataclass(frozen=True, slots=True)
class Attacc(Mapping):
    """AttAcc's mapping of a KV head to the lanes of a channel."""

    device: Hardware
    together: ClassVar[bool] = True
    phases: ClassVar[dict[str, str]] = {
        "score": "score",
        "softmax": "softmax",
        "context": "context",
        "move": "moves that nothing hides",
    }

    def __post_init__(self) -> None:
        """Refuse a head that no row holds."""
        self.device.geometry(self.head_dim, self.kv_bits)

    @classmethod
    def read_device(cls, path: Path, values: dict[str, Any]) -> Hardware:
        """Return the device that a file's content describes."""
        return reading.checked(path, values)

    @classmethod
    def check(cls, device: Device) -> list[Check]:
        """Check peak bandwidths, capacity and energy."""
        return selfcheck.check(cast(Hardware, device))

    @property
    def geometry(self) -> Geometry:
        """Columns, rows and banks."""
        return self.device.geometry(self.head_dim, self.kv_bits)

    @property
    def keys(self) -> Region:
        """Blocks of keys, `key_columns` MACs each."""
        return Region(self.geometry.block_tokens, self.geometry.key_blocks_per_row)

    @property
    def values(self) -> Region:
        """Blocks of values, a MAC in each of `value_slices` slices."""
        return Region(self.geometry.block_tokens, self.geometry.value_blocks_per_row)

    def cost(self, keys: BoolArray, values: BoolArray, q_heads: int, fidelity: str) -> StepCost:
        """Return what a step costs; both regions have the same blocks."""
        return step_cost(self.geometry, keys[0], q_heads, fidelity)

    def pace_cycles(self) -> tuple[int, int]:
        """Return the spacing of a block's MACs, and precharge and activate of another row."""
        geometry, timing = self.geometry, self.device.timing
        spacing = geometry.key_columns * self.device.level.mac_spacing_cycles(timing)
        return spacing, timing.n_rtpl_cycles + timing.n_rp_cycles + timing.n_rcdrd_cycles

    def requests(
        self, keys: BoolArray, values: BoolArray, q_heads: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the requests of the command fidelity at their addresses."""
        made = HeadStream(self.geometry, keys.shape[1], q_heads).step(keys[0])
        for kind, address in zip(made.kind.tolist(), made.address.tolist(), strict=True):
            yield REQUEST_WORDS[kind], f"{address:#012x}"

    def kv_head_bytes(self, tokens: int) -> int:
        """Return the bytes of the rows, in all banks that a row spans."""
        geometry = self.geometry
        blocks = -(-tokens // geometry.block_tokens)
        key_rows = -(-blocks // geometry.key_blocks_per_row)
        value_rows = geometry.value_slices * -(-blocks // geometry.value_blocks_per_row)
        row_bytes = geometry.mac_banks * geometry.hardware.organisation.row_bytes
        return (key_rows + value_rows) * row_bytes

    def scoring(self, vectors: Amount, scored_bytes: Amount | None) -> Cost:
        """Multiply vectors of metadata like dense keys, a lane each."""
        return overheads.scoring(self.geometry, np.asarray(vectors, dtype=np.float64), scored_bytes)

    def remapping(self, tokens: Amount) -> Cost:
        """Read and write keys and values once over the channel's data bus."""
        return overheads.remapping(self.geometry, np.asarray(tokens, dtype=np.float64))

    def facts(self) -> dict[str, int]:
        """Return the numbers of the geometry."""
        return self.geometry.facts()
