"""Capture a real LLM's per-step queries, keys and values into a trace folder.

For notebooks and scripts `capture_model`, `open_trace` and `Trace` are here, imported when they
are first asked for.
"""

from typing import TYPE_CHECKING

from tracegen.base.lazy import lazy_names

if TYPE_CHECKING:
    from tracegen.capture.objects import capture_model
    from tracegen.trace.store import Trace

    open_trace = Trace.open

__all__ = ["Trace", "capture_model", "open_trace"]

__getattr__ = lazy_names(
    __name__,
    {
        "Trace": "tracegen.trace.store:Trace",
        "capture_model": "tracegen.capture.objects:capture_model",
        "open_trace": "tracegen.trace.store:Trace.open",
    },
)
