"""Numbers in words and words of numbers: `3`, `0-4` and `0,2,5`, never expanded beyond need."""

import re
from collections.abc import Collection, Iterable

from tracegen.base.errors import UserError

_RANGE = re.compile(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?")


def parse_ranges(text: str) -> list[range]:
    """Read numbers and ranges, both ends included; a range is not expanded, whatever its size.

    >>> parse_ranges("0-3, 7")
    [range(0, 4), range(7, 8)]

    Raises:
        ValueError: it is something else, or a range that runs backwards; the message is a sentence.
    """
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part.strip()[:40]!r} is not a number or a range")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"{part.strip()!r} runs backwards")
        found.append(range(first, last + 1))
    return found


def within(ranges: Iterable[range], known: Collection[int]) -> tuple[int, ...]:
    """Return those of the known numbers that the ranges cover, in ascending order.

    >>> within(parse_ranges("0-99999999999"), [4, 2, 0])
    (0, 2, 4)
    """
    wanted = list(ranges)
    return tuple(one for one in sorted(known) if any(one in part for part in wanted))


def chosen(texts: Iterable[str], known: Collection[int], option: str) -> tuple[int, ...]:
    """Return the numbers that an option names, each of which must be known; ascending, once each.

    Raises:
        UserError: a text names no number, or one that is not known; `option` names the place.
    """
    wanted = []
    for text in texts:
        try:
            wanted += parse_ranges(text)
        except ValueError as error:
            raise UserError(f"{option} {text[:40]!r}: {error}; give 3, 0-4 or 0,2,5") from None
    have = set(known)
    for part in wanted:
        # of n + 1 numbers one at least is missing among n known ones: no need to look further
        missing = next((one for one in part[: len(have) + 1] if one not in have), None)
        if missing is not None:
            raise UserError(f"{option} {missing}: not there; known: {write_ranges(have)}")
    return within(wanted, have)


def write_ranges(numbers: Iterable[int]) -> str:
    """Write numbers shortly.

    >>> write_ranges([0, 1, 2, 3, 7])
    '0-3, 7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def whole_number(text: str, least: int = 0, most: int = (1 << 63) - 1) -> int | None:
    """Return the number that plain decimal digits state; None: no such number, or out of bounds.

    >>> whole_number("12"), whole_number("²"), whole_number("9" * 5000)
    (12, None, None)
    """
    if re.fullmatch(r"[0-9]{1,19}", text.strip()) is None:
        return None
    number = int(text)
    return number if least <= number <= most else None
