"""Layer numbers as people write them: 3, 0-4 or 0,2,5."""

import re
from collections.abc import Iterable, Sequence

from tracegen.base.errors import UserError


def layer_numbers(
    texts: Sequence[str], known: tuple[int, ...], asked: str = "--layer"
) -> tuple[int, ...]:
    """Parse `3`, `0-4` and `0,2,5` against the layers of a trace; `asked` names the option.

    Raises:
        UserError: no layer number, or a layer that the trace lacks.
    """
    wanted: set[int] = set()
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not found:
            raise UserError(f"{asked} {part!r}: not a layer; give 3, 0-4 or 0,2,5")
        first = int(found[1])
        wanted.update(range(first, int(found[2] or first) + 1))
    missing = sorted(wanted - set(known))
    if missing:
        raise UserError(f"{asked} {missing[0]}: not in the trace; captured layers: {ranges(known)}")
    return tuple(sorted(wanted))


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers shortly: 0-3, 7.

    >>> ranges([0, 1, 2, 3, 7])
    '0-3, 7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
