"""The requests of one KV head's step again, slow and obvious: one block, column, bank at a time.

It shares no code with `pimreplay`: docs/timing_rules.md ("Attention", "The device") is stated here
a second time. A request is (word, place); a place is (rank, bank group, bank, row, column) of
channel 0, pseudo-channel 0, since every request here reaches both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

BLOCKS_PER_GROUP = 16
MAC = {"bank": "PIM_MAC_AB", "bg": "PIM_MAC_SB", "buffer": "PIM_MAC_PB"}
NOWHERE = (0, 0, 0, 0, 0)

Place = tuple[int, int, int, int, int]
Request = tuple[str, Place]


@dataclass(frozen=True)
class Device:
    """What a hardware file says, in plain numbers; an unknown energy is None."""

    level: str
    channels: int
    pseudo_channels: int
    ranks: int
    bank_groups: int
    banks: int
    rows: int
    columns: int
    access_bytes: int
    timing: Mapping[str, int] = field(hash=False)
    t_ck_ns: float
    refresh: bool
    energy: Mapping[str, float | None] = field(hash=False)
    host_flops_per_ns: float | None
    host_pj_per_flop: float | None

    @property
    def lanes(self) -> int:
        """Bank groups of a channel."""
        return self.pseudo_channels * self.ranks * self.bank_groups

    @property
    def block_tokens(self) -> int:
        """A token lies in a bank group; at buffer level in a pseudo-channel."""
        return self.pseudo_channels if self.level == "buffer" else self.lanes

    @property
    def banks_at_once(self) -> int:
        """Banks that one MAC reads, and one activation before it opens."""
        if self.level == "bank":
            return self.lanes * self.banks
        return self.lanes if self.level == "bg" else self.pseudo_channels


def columns_of_a_vector(device: Device, head_dim: int, element_bytes: float) -> int:
    """Count the columns that a bank gives for one vector, which bank level cuts over its lane."""
    elements = head_dim
    if device.level == "bank":
        elements = -(-head_dim // device.banks)
    columns = 0
    while columns * device.access_bytes < elements * element_bytes:
        columns += 1
    return columns


def columns_of_a_row(device: Device) -> int:
    """Count the columns of a row; at buffer level those of the same row of all banks."""
    if device.level == "buffer":
        return device.ranks * device.bank_groups * device.banks * device.columns
    return device.columns


def first_column(device: Device, columns: int, block: int) -> int:
    """Return where the keys of a block begin, columns counted through all rows of their region.

    A bank's row holds whole blocks only; at buffer level blocks simply follow one another.
    """
    if device.level == "buffer":
        return block * columns
    row, index = divmod(block, device.columns // columns)
    return row * device.columns + index * columns


def rows_of_keys(device: Device, columns: int, n_blocks: int) -> int:
    """Count the rows that the keys of `n_blocks` blocks take."""
    last = first_column(device, columns, n_blocks - 1) + columns - 1
    return last // columns_of_a_row(device) + 1


def is_in_rows(device: Device, rows: int, bank: int, row: int) -> bool:
    """Say whether a bank's row is among the first `rows` of a KV head's memory."""
    return (row * device.banks + bank if device.level == "bg" else row) < rows


def place_of(device: Device, first_row: int, column: int) -> Place:
    """Return where a column lies, columns counted from `first_row` on."""
    row, at = divmod(column, columns_of_a_row(device))
    row += first_row
    if device.level == "bank":  # every bank has its part of a vector at the same place
        return 0, 0, 0, row, at
    if device.level == "bg":  # row after row goes to another bank of the lane
        return 0, 0, row % device.banks, row // device.banks, at
    lanes = [(r, g) for r in range(device.ranks) for g in range(device.bank_groups)]
    banks = [(r, g, bank) for bank in range(device.banks) for r, g in lanes]
    rank, group, bank = banks[at % len(banks)]  # column after column goes to another bank
    return rank, group, bank, row, at // len(banks)


def row_by_row(
    device: Device, first_row: int, blocks: Sequence[range], q_heads: int
) -> Iterator[Request]:
    """Read the columns of blocks in order, a row for each query head before the next row."""
    in_row: dict[int, list[int]] = {}
    for columns in blocks:
        in_row.setdefault(columns[0] // columns_of_a_row(device), []).extend(columns)
    for columns_of_row in in_row.values():
        for _ in range(q_heads):
            for column in columns_of_row:
                yield MAC[device.level], place_of(device, first_row, column)


def move_places(device: Device, what: str) -> list[Place]:
    """Return where the moves of one query head go, in order."""
    groups, ranks = range(device.bank_groups), range(device.ranks)
    if device.level == "buffer":  # the GEMV unit and the softmax unit are neighbours
        return [NOWHERE]
    if what == "scores":
        return [(r, g, 0, 0, 0) for g in groups for r in ranks]
    if what == "context":
        banks = range(device.banks if device.level == "bank" else 1)
        return [(r, 0, bank, 0, 0) for bank in banks for r in ranks]
    return [(r, g, 0, 0, 0) for r in ranks for g in groups]


def step_requests(
    device: Device,
    head_dim: int,
    element_bytes: float,
    n_blocks: int,
    chosen: Sequence[int],
    q_heads: int,
) -> list[Request]:
    """Return the requests of a step that reads the blocks `chosen` of a region of `n_blocks`."""
    if not chosen:
        return []
    columns = columns_of_a_vector(device, head_dim, element_bytes)
    found: list[Request] = []
    barrier = ("PIM_BARRIER", NOWHERE)

    banks = range(device.banks if device.level == "bank" else 1)
    for _ in range(q_heads):
        found += [
            ("PIM_WR_GB", (0, 0, bank, 0, column)) for bank in banks for column in range(columns)
        ]
    found.append(barrier)

    scores_out = [("PIM_MV_SB", place) for place in move_places(device, "scores")] * q_heads
    for start in range(0, len(chosen), BLOCKS_PER_GROUP):
        group = []
        for block in chosen[start : start + BLOCKS_PER_GROUP]:
            first = first_column(device, columns, block)
            group.append(range(first, first + columns))
        found += row_by_row(device, 0, group, q_heads)
        if start > 0:  # the scores of the group before, beside this group's MACs
            found += scores_out
        found.append(barrier)
    found += scores_out

    found += [("PIM_SFM", NOWHERE)] * q_heads

    elements = int(device.access_bytes / element_bytes)
    for _ in range(q_heads):
        for rank, group_of_banks, *_rest in move_places(device, "probabilities"):
            for column in range(-(-len(chosen) // elements)):
                found.append(("PIM_MV_GB", (rank, group_of_banks, 0, 0, column)))
    found.append(barrier)

    sums_out = [("PIM_MV_SB", place) for place in move_places(device, "context")] * q_heads
    first_row = rows_of_keys(device, columns, n_blocks)
    for index in range(columns):
        column_each = [range(block, block + 1) for block in chosen]
        found += row_by_row(device, first_row, column_each, q_heads)
        if index > 0:  # the sums of the slice before, beside this slice's MACs
            found += sums_out
        found.append(barrier)
        first_row += -(-n_blocks // columns_of_a_row(device))
    found += sums_out
    return found


def address_of(device: Device, place: Place, channel: int = 0, half: int = 0) -> int:
    """Return the byte address of a place: channel, pseudo-channel, rank, ... , column, byte."""
    rank, group, bank, row, column = place
    address = channel
    for count, index in (
        (device.pseudo_channels, half),
        (device.ranks, rank),
        (device.bank_groups, group),
        (device.banks, bank),
        (device.rows, row),
        (device.columns, column),
        (device.access_bytes, 0),
    ):
        address = address * count + index
    return address
