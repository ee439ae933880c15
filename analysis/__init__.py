"""Compare the latency, energy, balance and attention recall of replayed runs.

For notebooks and scripts `read_results`, `draw` and `read_accuracy` are here, imported when they
are first asked for.
"""

from typing import TYPE_CHECKING

from tracegen.base.lazy import lazy_names

if TYPE_CHECKING:
    from analysis.objects import draw, read_results
    from analysis.results.accuracy import read_accuracy

__all__ = ["draw", "read_accuracy", "read_results"]

__getattr__ = lazy_names(
    __name__,
    {
        "draw": "analysis.objects:draw",
        "read_accuracy": "analysis.results.accuracy:read_accuracy",
        "read_results": "analysis.objects:read_results",
    },
)
