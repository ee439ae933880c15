"""The two ways to find a step's cycles, over one geometry; each is a file `<name>_fidelity.py`.

`command` sends the commands of every point through the cycle-accurate scheduler; `analytic` goes
row by row, by the same timing table.
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pimreplay.cost.counts import Counts, Cycles
from pimreplay.hardware.device import Geometry
from tracegen.base.errors import UserError, nearest

FIDELITIES = ("analytic", "command")
Evaluate = Callable[[Geometry, NDArray[np.bool_], int], tuple[Counts, Cycles]]
"""Count and time reading blocks (points, n_blocks) for so many query heads."""


def check_fidelity(name: object) -> str:
    """Return the name if it is a fidelity.

    Raises:
        UserError: it is not one.
    """
    if name not in FIDELITIES:
        raise UserError(f"fidelity {name!r}: unknown; {nearest(str(name), FIDELITIES)}")
    return str(name)


def load_fidelity(name: str) -> Evaluate:
    """Return how a fidelity counts and times; only its own file is imported.

    Raises:
        UserError: an unknown name.
    """
    module = import_module(f"pimreplay.cost.{check_fidelity(name)}_fidelity")
    return cast(Evaluate, module.evaluate)
