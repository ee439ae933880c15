"""PIM levels: where a device's MAC units sit, and everything that follows from it.

`bank`: a unit in every bank; a vector is split over the banks of its lane, a bank group. `bg`: a
unit a bank group; a vector lies in one bank of the lane at a time. `buffer`: a unit a
pseudo-channel on the buffer die; a lane is a pseudo-channel, read bank by bank.
Source: scale-snu/attacc_simulator @ c600051, trace_gen and src/config.py.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.timing import Timing

IntArray = NDArray[np.int64]


class Place(NamedTuple):
    """Where columns lie in a channel, arrays of one shape."""

    rank: IntArray
    bank_group: IntArray
    bank: IntArray
    row: IntArray
    column: IntArray


@dataclass(frozen=True, slots=True)
class Level(ABC):
    """What every level states."""

    name: ClassVar[str]
    mac_request: ClassVar[str]
    mac_command: ClassVar[str]
    mac_rule: ClassVar[str]
    """The timing that bounds a stream of MACs."""
    walk: ClassVar[str]
    """File in `pimreplay.cost.walks` of the analytic fidelity."""
    inward: ClassVar[tuple[str, ...]]
    """Distances of the DRAM path between a row buffer and the MAC unit, named as in the energies
    of a hardware file."""
    attacc_mac_banks: ClassVar[int]
    """Banks for which the AttAcc simulator charges one MAC (`attacc` energy model)."""

    def __str__(self) -> str:
        return self.name

    def vector_banks(self, org: Organisation) -> int:
        """Return the banks over which one key or value is split."""
        return 1

    def lanes(self, org: Organisation) -> int:
        """Return the lanes of a channel: the tokens that one MAC command multiplies."""
        return org.lanes

    @abstractmethod
    def mac_banks(self, org: Organisation) -> int:
        """Return the banks that one MAC command reads and one activate command opens."""

    def interleaved_banks(self, org: Organisation) -> int:
        """Return the banks that consecutive columns go round before a row's next column."""
        return 1

    @abstractmethod
    def mac_spacing_cycles(self, timing: Timing) -> int:
        """Return the cycles between two MAC commands to open rows."""

    @abstractmethod
    def place(self, column: IntArray, org: Organisation) -> Place:
        """Return where the columns of a region lie, counted in the order in which MACs read."""

    def score_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return (rank, bank group) of the moves of 16 blocks' scores, in order."""
        return [(rank, group) for group in range(org.bank_groups) for rank in range(org.ranks)]

    @abstractmethod
    def context_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return (bank, rank) of the moves of one value slice's sums, in order."""

    def gemv_targets(self, org: Organisation) -> list[tuple[int, int]]:
        """Return (rank, bank group) of the GEMV buffers that get probabilities, in order."""
        return [(rank, group) for rank in range(org.ranks) for group in range(org.bank_groups)]


@dataclass(frozen=True, slots=True)
class Bank(Level):
    """A MAC unit in every bank."""

    name = "bank"
    mac_request = "PIM_MAC_AB"
    mac_command = "MACAB"
    mac_rule = "n_ccdab"
    walk = "all_bank"
    inward = ()
    attacc_mac_banks = 64

    def vector_banks(self, org: Organisation) -> int:
        """Return the banks of a bank group: each holds its part of the vector."""
        return org.banks

    def mac_banks(self, org: Organisation) -> int:
        """Return all banks of the channel."""
        return org.channel_banks

    def mac_spacing_cycles(self, timing: Timing) -> int:
        """Return the spacing of MACs on all banks."""
        return timing.n_ccdab_cycles

    def place(self, column: IntArray, org: Organisation) -> Place:
        """Return columns along a row, row after row, the same in all banks."""
        none = np.zeros_like(column)
        return Place(none, none, none, column // org.columns, column % org.columns)

    def context_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return a move a bank of a bank group and rank."""
        return [(bank, rank) for bank in range(org.banks) for rank in range(org.ranks)]


@dataclass(frozen=True, slots=True)
class BankGroup(Level):
    """A MAC unit a bank group."""

    name = "bg"
    mac_request = "PIM_MAC_SB"
    mac_command = "MACSB"
    mac_rule = "n_ccdsb"
    walk = "bank_group"
    inward = ("bank_group",)
    attacc_mac_banks = 16

    def mac_banks(self, org: Organisation) -> int:
        """Return one bank of each bank group."""
        return org.lanes

    def mac_spacing_cycles(self, timing: Timing) -> int:
        """Return the spacing of MACs on the same bank of each bank group."""
        return timing.n_ccdsb_cycles

    def place(self, column: IntArray, org: Organisation) -> Place:
        """Return columns along a row, then the next bank of the bank group."""
        none = np.zeros_like(column)
        row, at = column // org.columns, column % org.columns
        return Place(none, none, row % org.banks, row // org.banks, at)

    def context_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return a move a rank."""
        return [(0, rank) for rank in range(org.ranks)]


@dataclass(frozen=True, slots=True)
class Buffer(Level):
    """A MAC unit a pseudo-channel, on the buffer die."""

    name = "buffer"
    mac_request = "PIM_MAC_PB"
    mac_command = "MACPB"
    mac_rule = "n_bl"
    walk = "buffer"
    inward = ("bank_group", "global_io", "tsv")
    attacc_mac_banks = 1
    """A MAC reads a bank of each pseudo-channel; a fresh run of the simulator charges one."""

    def lanes(self, org: Organisation) -> int:
        """Return the pseudo-channels of a channel."""
        return org.pseudo_channels

    def mac_banks(self, org: Organisation) -> int:
        """Return one bank of each pseudo-channel."""
        return org.pseudo_channels

    def interleaved_banks(self, org: Organisation) -> int:
        """Return the banks of a pseudo-channel: columns go round all of them."""
        return org.ranks * org.bank_groups * org.banks

    def mac_spacing_cycles(self, timing: Timing) -> int:
        """Return the spacing of bursts on a pseudo-channel's data bus."""
        return max(timing.n_bl_cycles, timing.n_ccds_cycles)

    def place(self, column: IntArray, org: Organisation) -> Place:
        """Return columns round the bank groups of all ranks, then the banks, then along a row."""
        groups = org.bank_groups * org.ranks
        place, rest = column % groups, column // groups
        bank, rest = rest % org.banks, rest // org.banks
        return Place(
            place // org.bank_groups,
            place % org.bank_groups,
            bank,
            rest // org.columns,
            rest % org.columns,
        )

    def score_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return the one move: the sums are on the buffer die already."""
        return [(0, 0)]

    def context_moves(self, org: Organisation) -> list[tuple[int, int]]:
        """Return the one move."""
        return [(0, 0)]

    def gemv_targets(self, org: Organisation) -> list[tuple[int, int]]:
        """Return the one buffer."""
        return [(0, 0)]


LEVELS: dict[str, Level] = {one.name: one for one in (Bank(), BankGroup(), Buffer())}
"""The levels that a hardware file can name."""
