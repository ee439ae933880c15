"""Replay from a notebook or a script: policies by name or as objects, results as opened."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from pimreplay import mappings
from pimreplay.policies import Policy
from pimreplay.replay.method import Method, method, method_of
from pimreplay.replay.settings import Settings
from pimreplay.results.reader import Results
from pimreplay.results.writer import refuse_existing_results
from pimreplay.selection.budget_schedule import parse_budget
from pimreplay.study.plan import Point
from pimreplay.study.runs import checked, replay_points
from pimreplay.study.trace_sources import trace_sources


def replay_trace(
    trace: str | Path,
    policies: Sequence[str | Policy],
    budgets: Sequence[int | str],
    *,
    out: str | Path,
    hardware: Sequence[str] = ("attacc_hbm3_bank",),
    layout: str | None = None,
    settings: Settings | None = None,
    workers: int = 0,
) -> Results:
    """Replay a trace under every policy, budget and device, and open the results.

    Args:
        trace: Folder of a trace, or of many of one model.
        policies: `NAME[:param=value,...][@LAYOUT]`, or objects with a `select` of their own, see
            `pimreplay.policies.Policy`; results call these by their class.
        budgets: Tokens a step, or whatever the command line takes.
        out: Results folder to make.
        hardware: Names of devices, or files.
        layout: For every policy without one of its own; None: each policy's usual one.
        settings: What belongs to the whole replay; None: as the command line has it.
        workers: Worker processes; 0: everything in this one, which a class that stands in a
            notebook needs.

    Raises:
        UserError: bad input, found before any work where that is possible; nothing is written.
        FailedRun: the work itself failed; nothing is written.
    """
    refuse_existing_results(str(out))
    methods = [_method(one, layout) for one in policies]
    devices = [mappings.load(name) for name in hardware]
    wanted = [parse_budget(str(one)) for one in budgets]
    sources = trace_sources(str(trace))
    points = [Point(*one) for one in product(sources, methods, wanted, devices)]
    points, settings = checked(points, settings or Settings())
    for _ in replay_points(points, settings, str(out), workers):
        pass  # what the command line prints
    return Results.open(str(out))


def _method(policy: str | Policy, layout: str | None) -> Method:
    return method(policy, layout) if isinstance(policy, str) else method_of(policy, layout)
