"""A device as data: where its MAC units are, where tokens lie in it, what its commands cost.

`reading.py` makes one from a hardware file.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from pimreplay.hardware.levels import Level
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing
from tracegen.base.errors import UserError

ENERGY_MODELS = ("activation", "attacc")
KV_BITS = (4, 8, 16, 32)
"""Widths of a KV element that column accesses can be cut into."""


def check_kv_bits(value: object, where: str) -> int:
    """Return a width of KV elements if it is one.

    Raises:
        UserError: it is not one; `where` says who named it.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value not in KV_BITS:
        known = ", ".join(map(str, KV_BITS))
        raise UserError(f"{where} = {value!r}: a KV element has {known} bits; choose one of them")
    return value


class Device(Protocol):
    """What a replay, its records and its reports ask of any device."""

    @property
    def name(self) -> str:
        """Stem of the device's file."""

    @property
    def title(self) -> str:
        """One line about it."""

    @property
    def mapping(self) -> str:
        """Name of its mapping, a file of `pimreplay.mappings`."""

    @property
    def channels(self) -> int:
        """Channels; KV heads in different ones are read at once."""

    @property
    def channel_bytes(self) -> int:
        """Capacity of a channel."""

    @property
    def t_ck_ns(self) -> float:
        """Clock period in which its cycles are counted, ns."""

    @property
    def energy_model(self) -> str:
        """How its energy is counted."""

    @property
    def host_flops_per_ns(self) -> float | None:
        """Sustained host arithmetic for clustering; None: unknown."""

    @property
    def host_pj_per_flop(self) -> float | None:
        """Energy of it; None: unknown."""

    @property
    def assumed(self) -> tuple[str, ...]:
        """Values that nobody published, a sentence each."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its numbers should know."""

    @property
    def values(self) -> dict[str, Any]:
        """The merged content of its file, for records of a run."""


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


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device under AttAcc's mapping, checked."""

    name: str
    title: str
    level: Level
    organisation: Organisation
    timing: Timing
    energy: EnergyTable
    energy_model: str
    sources: dict[str, str] = field(hash=False, compare=False)
    assumed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refresh: bool = True
    host_flops_per_ns: float | None = None
    """Sustained host arithmetic for clustering, flops per ns."""
    host_pj_per_flop: float | None = None
    values: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    """The merged content of the file, for records of a run."""

    def geometry(self, head_dim: int, kv_bits: int = 16) -> "Geometry":
        """Return where the tokens of a KV head lie whose elements have `kv_bits` bits.

        Raises:
            UserError: a row cannot hold them.
        """
        return Geometry(self, head_dim, kv_bits)

    @property
    def t_ck_ns(self) -> float:
        """Command clock period, ns."""
        return self.timing.t_ck_ps / 1000.0

    @property
    def mapping(self) -> str:
        """The mapping that these fields describe."""
        return "attacc"

    @property
    def channels(self) -> int:
        """Channels of the stack."""
        return self.organisation.channels

    @property
    def channel_bytes(self) -> int:
        """Capacity of a channel."""
        return self.organisation.capacity_bytes // self.organisation.channels


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the tokens of one KV head lie in a channel of a device.

    A *block* is the tokens of one access step: a lane each. Keys of consecutive blocks fill a
    row; values are cut in slices of head_dim, each slice in a region of its own. Queries, scores
    and probabilities move in elements of the same width as keys and values.
    Source: scale-snu/attacc_simulator @ c600051, trace_gen.
    """

    hardware: Hardware
    head_dim: int
    kv_bits: int
    """Bits of an element as the device stores it."""

    def __post_init__(self) -> None:
        where = f"{self.hardware.name}, head size {self.head_dim}, {self.kv_bits} bits an element"
        check_kv_bits(self.kv_bits, f"{self.hardware.name}: kv_bits")
        if self.head_dim < 1:
            raise UserError(f"{where}: the head size must be at least 1")
        columns, most = self.key_columns, self.hardware.organisation.columns
        if columns > most:
            raise UserError(
                f"{where}: one token needs {columns} columns of a row that has {most}; "
                "use a smaller head size or element"
            )

    @property
    def lane_words(self) -> int:
        """Elements of one column access."""
        return self.hardware.organisation.access_bytes * 8 // self.kv_bits

    @property
    def block_tokens(self) -> int:
        """Tokens of a block, one a lane."""
        return self.hardware.level.lanes(self.hardware.organisation)

    @property
    def key_columns(self) -> int:
        """MAC commands that read the keys of one block, once."""
        banks = self.hardware.level.vector_banks(self.hardware.organisation)
        return -(-self.head_dim // (banks * self.lane_words))

    @property
    def value_slices(self) -> int:
        """MAC commands that read the values of one block, once; each in another region."""
        return self.key_columns

    @property
    def key_blocks_per_row(self) -> int:
        """Blocks whose keys fill a row."""
        return self.hardware.organisation.columns // self.key_columns

    @property
    def value_blocks_per_row(self) -> int:
        """Blocks of one value slice in a row."""
        return self.hardware.organisation.columns

    @property
    def interleaved_banks(self) -> int:
        """Banks that consecutive columns go round before the next column of a row."""
        return self.hardware.level.interleaved_banks(self.hardware.organisation)

    @property
    def mac_banks(self) -> int:
        """Banks that one activate command opens and one MAC command reads."""
        return self.hardware.level.mac_banks(self.hardware.organisation)

    @property
    def query_writes(self) -> int:
        """PIM_WR_GB commands for one query head's query."""
        return self.key_columns * self.hardware.level.vector_banks(self.hardware.organisation)

    @property
    def token_bits(self) -> int:
        """Bits of a token's key and value."""
        return 2 * self.head_dim * self.kv_bits

    def facts(self) -> dict[str, int]:
        """Return the numbers that a results folder records of a trace on a device."""
        names = (
            "kv_bits",
            "block_tokens",
            "key_columns",
            "key_blocks_per_row",
            "value_slices",
            "value_blocks_per_row",
            "interleaved_banks",
            "mac_banks",
            "query_writes",
        )
        return {name: getattr(self, name) for name in names}
