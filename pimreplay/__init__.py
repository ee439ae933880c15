"""Replay a captured trace under selection policies and layouts on an HBM-PIM bank model.

For notebooks and scripts `replay_trace`, `open_results`, `load_policy`, `Settings` and the records
that a policy takes and gives, `KvHeadTrace` and `Selection`, are here, imported when they are first
asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pimreplay.policies import load_policy
    from pimreplay.records import KvHeadTrace, Selection
    from pimreplay.replay.settings import Settings
    from pimreplay.results.reader import open_results
    from pimreplay.study.objects import replay_trace

__all__ = ["KvHeadTrace", "Selection", "Settings", "load_policy", "open_results", "replay_trace"]

_PLACES = {
    "KvHeadTrace": "pimreplay.records",
    "Selection": "pimreplay.records",
    "Settings": "pimreplay.replay.settings",
    "load_policy": "pimreplay.policies",
    "open_results": "pimreplay.results.reader",
    "replay_trace": "pimreplay.study.objects",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
