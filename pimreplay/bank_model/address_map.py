"""Where a byte address lies in a stack."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pimreplay.hardware.organisation import Organisation


@dataclass(frozen=True, slots=True)
class AddressMap:
    """Bits of the fields of an address, from the low end, as AttAcc's trace generators have them.

    A count that is not a power of two has bits for the next one: some addresses then name a rank
    or a channel that is not there (`outside`).
    """

    offset_bits: int
    column_bits: int
    row_bits: int
    bank_bits: int
    bank_group_bits: int
    rank_bits: int
    pseudo_channel_bits: int
    ranks: int
    channels: int

    @classmethod
    def of(cls, org: Organisation) -> "AddressMap":
        """Return the map of an organisation."""

        def bits(count: int) -> int:
            return (count - 1).bit_length()

        return cls(
            bits(org.access_bytes),
            bits(org.columns),
            bits(org.rows),
            bits(org.banks),
            bits(org.bank_groups),
            bits(org.ranks),
            bits(org.pseudo_channels),
            org.ranks,
            org.channels,
        )

    @property
    def row_shift(self) -> int:
        """Lowest bit of the row number."""
        return self.offset_bits + self.column_bits

    @property
    def bank_shift(self) -> int:
        """Lowest bit of the bank number."""
        return self.row_shift + self.row_bits

    @property
    def rank_shift(self) -> int:
        """Lowest bit of the rank number."""
        return self.bank_shift + self.bank_bits + self.bank_group_bits

    @property
    def pseudo_channel_shift(self) -> int:
        """Lowest bit of the pseudo-channel number."""
        return self.rank_shift + self.rank_bits

    @property
    def channel_shift(self) -> int:
        """Lowest bit of the channel number."""
        return self.pseudo_channel_shift + self.pseudo_channel_bits

    @property
    def end(self) -> int:
        """First address beyond the stack."""
        return self.channels << self.channel_shift

    def outside(self, address: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each address whether it names a channel or rank that is not there."""
        rank = address >> self.rank_shift & ((1 << self.rank_bits) - 1)
        found: NDArray[np.bool_] = (address >= self.end) | (rank >= self.ranks)
        return found

    def address(
        self,
        channel: int = 0,
        pseudo_channel: int = 0,
        rank: int = 0,
        bank_group: int = 0,
        bank: int = 0,
        row: int = 0,
        column: int = 0,
    ) -> int:
        """Return the byte address of a column access."""
        value = channel
        for count_bits, index in (
            (self.pseudo_channel_bits, pseudo_channel),
            (self.rank_bits, rank),
            (self.bank_group_bits, bank_group),
            (self.bank_bits, bank),
            (self.row_bits, row),
            (self.column_bits, column),
        ):
            value = value << count_bits | index
        return value << self.offset_bits
