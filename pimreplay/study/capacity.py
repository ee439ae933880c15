"""How many workers a machine's cores and memory allow."""

import os
from collections.abc import Sequence

from pimreplay.replay.settings import Settings
from pimreplay.study.jobs import layers_of
from pimreplay.study.parts import finish
from pimreplay.study.plan import Point
from pimreplay.study.workers import Crew, InlineCrew, LocalCrew, one_thread
from tracegen.base.errors import UserError
from tracegen.base.space import in_words

WORKER_BYTES = 600 << 20
"""Memory of a worker before it reads a head: interpreter, torch, compiled kernels, two tiles."""
BYTES_A_CORE = 1250 << 20
MOST_GIGABYTES = 1_000_000


def memory_bytes(gigabytes: object, option: str) -> int | None:
    """Return a bound on memory in bytes; `option` names the place in messages.

    Raises:
        UserError: it is not a number of gigabytes that a machine can have.
    """
    if gigabytes is None:
        return None
    known = isinstance(gigabytes, int | float) and not isinstance(gigabytes, bool)
    if not known or not 0 < gigabytes <= MOST_GIGABYTES:  # type: ignore[operator]
        raise UserError(
            f"{option} {gigabytes}: not a size of memory; give gigabytes above 0, at most "
            f"{MOST_GIGABYTES:,}"
        )
    return int(gigabytes * 1e9)  # type: ignore[operator]


def local_crew(points: Sequence[Point], settings: Settings, workers: int | None) -> Crew:
    """Return workers on this machine: as many as cores, as memory allows, or as asked for.

    0 does everything in this process.

    Raises:
        UserError: not even one worker fits into the memory allowed.
    """
    if workers == 0:
        one_thread()
        return InlineCrew(finish)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = workers or cores or 1
    budgets = len({point.budget for point in points})
    need = max(head_bytes(point, budgets) for point in points) + WORKER_BYTES
    allowed = settings.memory_bytes or wanted * BYTES_A_CORE
    fitting = allowed // need
    if fitting < 1 and settings.memory_bytes is not None:
        raise UserError(
            f"--memory-gb {settings.memory_bytes / 1e9:g}: one KV head of this trace needs about "
            f"{in_words(need)}; allow that much"
        )
    units = len({(p.trace.path, layer) for p in points for layer in layers_of(p, settings)})
    jobs = units * points[0].trace.kv_heads * len({p.method.selector for p in points})
    return LocalCrew(max(1, min(wanted, fitting, jobs)), finish)


def head_bytes(point: Point, budgets: int) -> int:
    """Estimate what a worker holds of one KV head: float32 vectors, and masks of all steps."""
    manifest = point.trace.manifest
    vectors = 2 * manifest.tokens * max(manifest.head_dim) * (4 + 4)
    masks = manifest.group * manifest.decode_steps * manifest.tokens * (3 + budgets)
    return vectors + masks
