"""Where the energy goes: the parts of attention, and the work beside it."""

from analysis.metrics._parts import family
from pimreplay.cost.energy_parts import ENERGY_PARTS

METRICS = family(
    "energy",
    "pJ",
    ENERGY_PARTS,
    "Counted events times the coefficients of the hardware file; null without one.",
    part_of="energy",
    order=220,
)
