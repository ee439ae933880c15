"""A device as data: where its MAC units are, where tokens lie in it, what its commands cost.

`reading.py` makes one from a hardware file.
"""

from dataclasses import dataclass, field
from typing import Any

from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing
from tracegen.base.errors import UserError

LEVELS = ("bank", "bg", "buffer")
ENERGY_MODELS = ("activation", "attacc")


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Energy coefficients; None says that nobody published the value.

    Distances are those of the DRAM path: cell, column decoder to bank-group multiplexer,
    bank-group multiplexer to global I/O multiplexer, through-silicon via, interposer.
    """

    activation_pj: float | None = None
    """Activate and precharge one row of one bank."""
    cell_pj_per_bit: float | None = None
    """Read or write the row buffer."""
    bank_group_pj_per_bit: float | None = None
    """Column decoder to bank-group multiplexer."""
    global_io_pj_per_bit: float | None = None
    """Bank-group multiplexer to global I/O multiplexer."""
    tsv_pj_per_bit: float | None = None
    interposer_pj_per_bit: float | None = None
    mac_pj: float | None = None
    """One multiply-accumulate."""
    softmax_pj_per_element: float | None = None
    background_mw_per_channel: float | None = None
    """Active standby power."""
    refresh_mw_per_channel: float | None = None
    """Refresh power above standby, averaged over the refresh interval."""
    external_link_pj_per_bit: float | None = None
    """Stack to host, for work a policy does on the host."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the tokens of one KV head lie in a channel, for one head_dim and element size.

    A *block* is the tokens of one access step: a lane each. Keys of consecutive blocks fill a
    row; values are cut in slices of head_dim, each slice in a region of its own.
    """

    block_tokens: int
    """Tokens of a block, one a lane."""
    key_columns: int
    """MAC commands that read the keys of one block, once."""
    key_blocks_per_row: int
    value_slices: int
    """MAC commands that read the values of one block, once; each in another region."""
    value_blocks_per_row: int
    """Blocks of one value slice in a row."""
    interleaved_banks: int
    """Banks that consecutive columns go round before the next column of a row (buffer level)."""
    parallel_banks: int
    """Banks that one activation command opens and one MAC command reads."""
    query_writes: int
    """PIM_WR_GB commands for one query head's query."""
    lane_words: int
    """Elements of one column access."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One hardware configuration, checked."""

    name: str
    title: str
    level: str
    organisation: Organisation
    timing: Timing
    energy: EnergyTable
    energy_model: str
    sources: dict[str, str]
    assumed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refresh: bool = True
    host_flops_per_ns: float | None = None
    """Sustained host arithmetic for clustering, flops per ns."""
    host_pj_per_flop: float | None = None
    values: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    """The merged content of the file, for records of a run."""

    def geometry(self, head_dim: int, element_bytes: int) -> Geometry:
        """Return where tokens of `head_dim` elements of `element_bytes` bytes lie."""
        return geometry(self, head_dim, element_bytes)

    @property
    def t_ck_ns(self) -> float:
        """Command clock period, ns."""
        return self.timing.t_ck_ps / 1000.0


def geometry(hardware: Hardware, head_dim: int, element_bytes: int) -> Geometry:
    """Return where the tokens of one KV head lie; `UserError` when they cannot.

    `bank`: a vector is split over the banks of its lane (bank group). `bg`: it lies in one
    bank of the lane at a time. `buffer`: a lane is a pseudo-channel, read bank by bank.
    Source: scale-snu/attacc_simulator @ c600051, trace_gen.
    """
    org = hardware.organisation
    where = f"{hardware.name}, head_dim {head_dim}, {element_bytes} bytes per element"
    if element_bytes not in (1, 2, 4):
        raise UserError(f"{where}: an element has 1, 2 or 4 bytes; choose one of them")
    if head_dim < 1:
        raise UserError(f"{where}: head_dim must be at least 1")
    words = org.access_bytes // element_bytes
    split = org.banks if hardware.level == "bank" else 1
    columns = -(-head_dim // (split * words))
    if columns > org.columns:
        raise UserError(
            f"{where}: one token needs {columns} columns of a row that has {org.columns}; "
            "use a smaller head_dim or element"
        )
    return Geometry(
        block_tokens=org.pseudo_channels if hardware.level == "buffer" else org.lanes,
        key_columns=columns,
        key_blocks_per_row=org.columns // columns,
        value_slices=columns,
        value_blocks_per_row=org.columns,
        interleaved_banks=(
            org.ranks * org.bank_groups * org.banks if hardware.level == "buffer" else 1
        ),
        parallel_banks={
            "bank": org.channel_banks,
            "bg": org.lanes,
            "buffer": org.pseudo_channels,
        }[hardware.level],
        query_writes=columns * (org.banks if hardware.level == "bank" else 1),
        lane_words=words,
    )
