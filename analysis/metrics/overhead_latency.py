"""Time of choosing and arranging tokens, beside the attention itself."""

from analysis.metrics import Metric
from analysis.metrics._parts import OVERHEADS_SOURCE, overheads

METRIC = Metric(
    title="Overhead latency",
    short="Overhead",
    unit="ns",
    better="lower",
    source=OVERHEADS_SOURCE,
    compute=overheads("ns"),
    order=80,
)
