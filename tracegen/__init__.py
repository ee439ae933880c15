"""Capture a real LLM's per-step queries, keys and values into a trace folder.

For notebooks and scripts `capture_model`, `open_trace` and `Trace` are here, imported when they
are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracegen.capture.objects import capture_model
    from tracegen.trace.store import Trace

    open_trace = Trace.open

__all__ = ["Trace", "capture_model", "open_trace"]

_PLACES = {"Trace": "tracegen.trace.store", "capture_model": "tracegen.capture.objects"}


def __getattr__(name: str) -> Any:
    if name == "open_trace":
        return import_module(_PLACES["Trace"]).Trace.open
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
