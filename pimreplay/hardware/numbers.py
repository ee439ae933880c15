"""What counts as a number in a hardware file."""

from math import inf


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number; `true` is not one."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_time(value: object) -> bool:
    """Tell whether a value is a time that passes and ends."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf
