"""Compare the latency, energy, balance and attention recall of replayed runs.

For notebooks and scripts `read_results`, `draw` and `read_accuracy` are here, imported when they
are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.objects import draw, read_results
    from analysis.results.accuracy import read_accuracy

__all__ = ["draw", "read_accuracy", "read_results"]

_PLACES = {
    "draw": "analysis.objects",
    "read_accuracy": "analysis.results.accuracy",
    "read_results": "analysis.objects",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
