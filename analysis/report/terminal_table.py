"""A wide table in a terminal: as many columns as fit, the others below, none left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

_GAP = 3
"""Columns that `SIMPLE_HEAD` puts between two columns; it takes one on each side too."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A heading, which breaks between words, and cells, which break at line ends only."""

    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """The least width in which nothing is cut."""
        lines = [*self.heading.split(), *(line for cell in self.cells for line in cell.split("\n"))]
        return max(map(len, lines), default=0)


def terminal_tables(
    keys: Sequence[TextColumn], values: Sequence[TextColumn], width: int
) -> Iterator[Table]:
    """Yield tables that fit `width`: each has the `keys`, which name a row, and some `values`.

    A row is on the same line of each table. Keys are folded where they alone would take more
    than two thirds of the width.
    """
    for some in that_fit(keys, values, width + 1, _GAP):
        yield _table(keys, some)


def that_fit(
    keys: Sequence[TextColumn], values: Sequence[TextColumn], width: int, gap: int
) -> Iterator[Sequence[TextColumn]]:
    """Yield the values in groups that fit `width` beside the keys, `gap` from column to column."""
    room = max(width - sum(column.width + gap for column in keys), width // 3)
    left = list(values)
    while left:
        count, used = 0, 0
        while count < len(left) and (count == 0 or used + left[count].width + gap <= room):
            used += left[count].width + gap
            count += 1
        yield left[:count]
        left = left[count:]


def _table(keys: Sequence[TextColumn], values: Sequence[TextColumn]) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in keys:
        table.add_column(column.heading, overflow="fold")
    for column in values:
        table.add_column(column.heading, justify="right", width=column.width)
    for cells in zip(*(column.cells for column in (*keys, *values)), strict=True):
        table.add_row(*cells)
    return table
