"""Where the time goes: the phases of attention, and the work beside it."""

from analysis.metrics._parts import family
from pimreplay.results.schema import PHASES

METRICS = family(
    "latency",
    "ns",
    PHASES,
    "Phase of the command schedule, summed over KV heads and layers.",
    part_of="head_latency",
    order=200,
)
