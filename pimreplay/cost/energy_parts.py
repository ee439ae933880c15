"""The parts that energy is charged to: a field of `Energy` is one."""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Amount = TypeVar("Amount", float, FloatArray)


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy by part, pJ, (points,); None where nobody knows.

    The fields are the parts: results, tables and `explain` go through them.
    """

    activation_pj: FloatArray | None
    """Opening DRAM rows."""
    cell_pj: FloatArray | None
    """Reading the cells of open rows."""
    movement_pj: FloatArray | None
    """Moving data on the die, through the stack and off it."""
    mac_pj: FloatArray | None
    """Multiplying and adding beside the banks."""
    softmax_pj: FloatArray | None
    """The softmax unit of the buffer die."""
    background_pj: FloatArray | None
    """Keeping the device powered while it works."""
    refresh_pj: FloatArray | None
    """Refreshing the device while it works."""

    def parts(self) -> dict[str, FloatArray | None]:
        """Return every part by its name."""
        return {name: getattr(self, name) for name in ENERGY_PARTS}

    @property
    def total_pj(self) -> FloatArray | None:
        """Sum of all parts, None when any is unknown."""
        return added(*self.parts().values())


ENERGY_PARTS = tuple(one.name for one in fields(Energy))


def times(amount: FloatArray, coefficient: float | None) -> FloatArray | None:
    """Multiply by a coefficient that may be unknown."""
    return None if coefficient is None else amount * coefficient


def added(*values: Amount | None) -> Amount | None:
    """Add what may be unknown: None when any value is."""
    total: Amount | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total
