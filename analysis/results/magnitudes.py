"""Amounts and multiples as they read well: 1.2 ms, not 1,200,000 ns; 145×, not 144.74×."""

from collections.abc import Iterable

_LARGER = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")),
    "pJ": ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ")),
    "pJ·ns": ((1e21, "J·s"), (1e15, "mJ·ms"), (1e9, "µJ·µs"), (1.0, "pJ·ns")),
}


def scaled(values: Iterable[float | None], unit: str) -> tuple[float, str]:
    """Return the divisor and the unit in which the largest value reads well."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    for factor, name in _LARGER.get(unit, ()):
        if largest >= factor:
            return factor, name
    return 1.0, unit


def times(ratio: float) -> str:
    """Return a multiple with as many digits as it can be read with: 0.31×, 145×."""
    return f"{ratio:,.0f}\u00d7" if ratio >= 100 else f"{ratio:.2f}\u00d7"
