"""A GPU without PIM: a roofline over the sectors that keys and values touch.

The cache lies in the GPU's memory, token after token; memory is read in sectors of 32 bytes, so a
scattered token costs its sectors and no more. A cycle is the time of one sector at peak bandwidth.
KV heads share that bandwidth: they count one after the other. Caches, kernel starts, gathering of
indices and row locality are not modelled: this is a bound that kernels stay below.
Source: NVIDIA Hopper tuning guide (sectors of 32 bytes); Williams et al., Roofline (CACM 2009).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from pimreplay.cost.energy_parts import Energy, FloatArray, times
from pimreplay.cost.mapping import BoolArray, Mapping, Region
from pimreplay.cost.overheads import Amount, Cost
from pimreplay.cost.selfcheck import Check
from pimreplay.cost.step_cost import IntArray, StepCost
from pimreplay.hardware.device import Device
from pimreplay.hardware.product import Product, Tables, product

ENERGY = (
    "activation_pj_per_bit",
    "cell_pj_per_bit",
    "movement_pj_per_bit",
    "mac_pj",
    "softmax_pj_per_element",
    "background_mw",
    "refresh_mw",
)
_TABLES = Tables(
    needed={
        "memory": ("bytes_per_ns", "sector_bytes", "channel_bytes"),
        "compute": ("flops_per_ns",),
    },
    known={"energy": ENERGY},
    choices={},
)


@dataclass(frozen=True, slots=True)
class Gpu(Mapping):
    """One KV head in the memory of a GPU."""

    device: Product
    together: ClassVar[bool] = True
    phases: ClassVar[dict[str, str]] = {
        "score": "keys",
        "softmax": "softmax (beside the reads, not counted)",
        "context": "values",
        "move": "other",
    }

    @classmethod
    def read_device(cls, path: Path, values: dict[str, Any]) -> Product:
        """Return the device that a file's content describes."""
        _TABLES.refuse_wrong(path, values)
        memory = values["memory"]
        t_ck_ns = memory["sector_bytes"] / memory["bytes_per_ns"]
        return product(path, values, t_ck_ns=t_ck_ns, where="memory")

    @classmethod
    def check(cls, device: Device) -> list[Check]:
        """Read a long dense context: it must take its bytes over the bandwidth."""
        mapping, tokens = cls(cast(Product, device), 128, 16), 4096
        every = np.ones((1, 1, tokens // mapping.keys.block_tokens), dtype=np.bool_)
        cost = mapping.cost(every, every, 1, "analytic")
        reached = 2 * tokens * mapping.vector_bytes / (cost.cycles[0] * device.t_ck_ns)
        peak = float(device.values["memory"]["bytes_per_ns"])
        text = f"dense reads: {reached:,.0f} GB/s of the {peak:,.0f} GB/s peak"
        known = cost.energy.total_pj is not None
        return [
            Check(device.name, "rd_peak", abs(reached / peak - 1) < 1e-6, text),
            Check(
                device.name,
                "capacity",
                True,
                f"capacity {device.channel_bytes / 2**30:g} GiB as stated",
            ),
            Check(
                device.name,
                "energy",
                True,
                "every part is known" if known else "some energy unknown: totals are null",
            ),
        ]

    @property
    def vector_bytes(self) -> int:
        """Bytes of a key or a value."""
        return -(-self.head_dim * self.kv_bits // 8)

    @property
    def keys(self) -> Region:
        """Tokens that share a sector: one, unless keys are shorter than that."""
        sector = int(self.device.values["memory"]["sector_bytes"])
        return Region(max(1, sector // self.vector_bytes), 1)

    @property
    def values(self) -> Region:
        """As keys."""
        return self.keys

    def cost(self, keys: BoolArray, values: BoolArray, q_heads: int, fidelity: str) -> StepCost:
        """Return the longer of reading and multiplying; both fidelities are alike."""
        sectors = keys[0].sum(axis=1) * self._block_sectors
        tokens = keys[0].sum(axis=1) * self.keys.block_tokens
        products = (tokens * self.head_dim * q_heads).astype(
            np.float64
        )  # of keys; as many of values
        flops_per_cycle = self.device.values["compute"]["flops_per_ns"] * self.device.t_ck_ns
        computing = np.ceil(2 * products / flops_per_cycle).astype(np.int64)
        each: IntArray = np.maximum(sectors, computing)
        none = np.zeros_like(each)
        return StepCost(
            cycles=2 * each,
            score_cycles=each,
            softmax_cycles=none,
            context_cycles=each,
            move_cycles=none,
            hidden_cycles=none,
            n_key_rows=None,
            n_value_rows=None,
            n_activations=None,
            n_mac_commands=none,
            n_moves=none,
            energy=self._energy(sectors, 2 * products, tokens * float(q_heads), 2 * each),
        )

    @property
    def _block_sectors(self) -> int:
        """Sectors of a block: of one vector, or one that holds several."""
        return -(-self.vector_bytes // int(self.device.values["memory"]["sector_bytes"]))

    def _energy(
        self, sectors: IntArray, products: FloatArray, scores: FloatArray, cycles: IntArray
    ) -> Energy:
        """Charge bits of both regions, products, scores and time."""
        price = dict(self.device.energy).get
        sector_bits = 8.0 * self.device.values["memory"]["sector_bytes"]
        bits = 2 * sectors.astype(np.float64) * sector_bits
        time_ns = cycles.astype(np.float64) * self.device.t_ck_ns
        return Energy(
            activation_pj=times(bits, price("activation_pj_per_bit")),
            cell_pj=times(bits, price("cell_pj_per_bit")),
            movement_pj=times(bits, price("movement_pj_per_bit")),
            mac_pj=times(products, price("mac_pj")),
            softmax_pj=times(scores, price("softmax_pj_per_element")),
            background_pj=times(time_ns, price("background_mw")),
            refresh_pj=times(time_ns, price("refresh_mw")),
        )

    def requests(
        self, keys: BoolArray, values: BoolArray, q_heads: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the sectors read; a GPU's memory is sent no commands of its own."""
        for name, blocks in (("keys", keys[0]), ("values", values[0])):
            for block in np.flatnonzero(blocks).tolist():
                for sector in range(self._block_sectors):
                    yield f"read {name}", f"sector {block * self._block_sectors + sector}"

    def kv_head_bytes(self, tokens: int) -> int:
        """Return the bytes of keys and values."""
        return 2 * tokens * self.vector_bytes

    def scoring(self, vectors: Amount, scored_bytes: Amount | None) -> Cost:
        """Read the metadata once; its arithmetic is hidden behind that."""
        amount = np.asarray(vectors, dtype=np.float64) * self.vector_bytes
        if scored_bytes is not None:
            amount = np.asarray(scored_bytes, dtype=np.float64)
        return self._moved(amount)

    def remapping(self, tokens: Amount) -> Cost:
        """Read and write keys and values once."""
        return self._moved(np.asarray(tokens, dtype=np.float64) * (4 * self.vector_bytes))

    def _moved(self, amount_bytes: FloatArray) -> Cost:
        price = dict(self.device.energy).get
        parts = [price(name) for name in ENERGY[:3]]
        known = [one for one in parts if one is not None]
        energy = amount_bytes * 8 * sum(known) if len(known) == len(parts) else None
        return amount_bytes / float(self.device.values["memory"]["bytes_per_ns"]), energy

    def facts(self) -> dict[str, int]:
        """Return block and sector sizes."""
        return {
            "kv_bits": self.kv_bits,
            "block_tokens": self.keys.block_tokens,
            "key_blocks_per_row": 1,
            "block_sectors": self._block_sectors,
        }
