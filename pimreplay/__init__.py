"""Replay a captured trace under selection policies and layouts on an HBM-PIM bank model.

For notebooks and scripts `replay_trace`, `open_results`, `load_policy`, `Settings` and the records
that a policy takes and gives, `KvHeadTrace` and `Selection`, are here, imported when they are first
asked for.
"""

from typing import TYPE_CHECKING

from tracegen.base.lazy import lazy_names

if TYPE_CHECKING:
    from pimreplay.policies import load_policy
    from pimreplay.records import KvHeadTrace, Selection
    from pimreplay.replay.settings import Settings
    from pimreplay.results.reader import open_results
    from pimreplay.study.objects import replay_trace

__all__ = ["KvHeadTrace", "Selection", "Settings", "load_policy", "open_results", "replay_trace"]

__getattr__ = lazy_names(
    __name__,
    {
        "KvHeadTrace": "pimreplay.records:KvHeadTrace",
        "Selection": "pimreplay.records:Selection",
        "Settings": "pimreplay.replay.settings:Settings",
        "load_policy": "pimreplay.policies:load_policy",
        "open_results": "pimreplay.results.reader:open_results",
        "replay_trace": "pimreplay.study.objects:replay_trace",
    },
)
