"""What counts as a number in a hardware file."""

from math import inf
from typing import TypeGuard

MOST = 1e9
"""The largest energy, power, rate or time: a millijoule, a megawatt, an exaflop and a second."""


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number; `true` is not one."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a finite number; `true` is not one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < inf


def is_time(value: object) -> TypeGuard[float]:
    """Tell whether a value is a time in nanoseconds that passes and ends."""
    return is_number(value) and 0 < value <= MOST
