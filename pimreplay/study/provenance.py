"""What made a result: versions, hashes, and the description that `run.json` keeps.

The hash of a point's parts decides what the cache of a sweep may reuse.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pimreplay.cost.occupancy import Occupancy
from pimreplay.mappings import mapping_of
from pimreplay.replay.settings import Settings
from pimreplay.results.seal import digest
from pimreplay.selection.budget_schedule import BudgetSchedule
from pimreplay.study.plan import Point, occupancy_of
from tracegen.base.location import is_url

TRACE_FACTS = ("q_heads", "kv_heads", "dtype", "prompt_tokens", "decode_steps")
LIBRARIES = ("numpy", "torch", "numba", "polars", "pyarrow")


@cache
def versions() -> dict[str, str]:
    """Return the versions of everything that computes a result."""
    import platform

    found = {"python": platform.python_version()}
    for name in ("pimreplay", *LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "code_sha256": code_sha256()}


@cache
def code_sha256() -> str:
    """Return a hash over the package's own source, so that a cache never outlives its code."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def describe(points: Sequence[Point], settings: Settings, out: str) -> dict[str, Any]:
    """Return the content of `run.json`: everything that made the results, and its hash.

    Where the results at `out` lie is no part of it: the same run in another place is the same file.
    """
    traces = {point.trace.name: point.trace for point in points}
    hardware = {point.hardware.name: point.hardware for point in points}
    methods = {(p.method.policy, p.method.parameters, p.method.layout): None for p in points}
    configuration = {
        "policies": [
            {"policy": policy, "parameters": parameters, "layout": layout}
            for policy, parameters, layout in methods
        ],
        "budgets": list(dict.fromkeys(point.budget_text for point in points)),
        "hardware": list(hardware),
        "dense_layers": settings.dense_layers,
        "fidelity": settings.fidelity,
        "kv_bits": settings.kv_bits,
        "kv_quantisation": settings.kv_quantisation,
        "stacks": settings.stacks,
        "layers": settings.layers,
        "seed": settings.seed,
        "device": settings.device,
    }
    budgets = {point.budget_text: point.budget for point in points}
    schedules = [one.record() for one in budgets.values() if isinstance(one, BudgetSchedule)]
    made_by = {
        "configuration": configuration,
        "budget_schedules": schedules,
        "traces": {name: trace.hash for name, trace in traces.items()},
        "hardware": {name: one.values for name, one in hardware.items()},
        "versions": versions(),
    }
    return {
        "configuration_sha256": digest(made_by),
        "synthetic": any(trace.kind == "synthetic" for trace in traces.values()),
        "traces": [
            {
                "name": trace.name,
                "path": _seen_from(out, trace.path),
                "hash": trace.hash,
                "prompts": trace.prompts,
                "kind": trace.kind,
                "model": trace.model,
                "layers": list(trace.layers),
                "head_dim": _one_or_all(trace.manifest.head_dim),
                **{name: getattr(trace.manifest, name) for name in TRACE_FACTS},
            }
            for trace in traces.values()
        ],
        "configuration": configuration,
        "budget_schedules": schedules,
        "hardware": [
            {
                "name": one.name,
                "title": one.title,
                "assumed": list(one.assumed),
                "notes": list(one.notes),
                "energy_model": one.energy_model,
                "mapping": one.mapping,
                "channels": one.channels,
                "t_ck_ns": one.t_ck_ns,
                "occupancy": _fullest(points, one.name, settings),
                "geometry": {
                    trace.name: mapping_of(
                        one, max(trace.manifest.head_dim), settings.kv_bits
                    ).facts()
                    for trace in traces.values()
                },
                "values": one.values,
            }
            for one in hardware.values()
        ],
        "versions": versions(),
    }


def _seen_from(out: str, path: str) -> str:
    """Return a trace's path from the results folder; a URL, or a path from one, stays as it is."""
    if is_url(out) or is_url(path):
        return path
    return os.path.relpath(path, out)


def _one_or_all(head_dim: Sequence[int]) -> int | list[int]:
    """Return the head size of all layers, or of each where they differ."""
    return head_dim[0] if len(set(head_dim)) == 1 else list(head_dim)


def _fullest(points: Sequence[Point], hardware: str, settings: Settings) -> dict[str, Any]:
    """Return how full each trace's KV cache makes a device, under the layout that fills it most."""
    found: dict[str, Occupancy] = {}
    for point in points:
        if point.hardware.name == hardware:
            one = occupancy_of(point, settings)
            other = found.setdefault(point.trace.name, one)
            found[point.trace.name] = max(one, other, key=lambda each: each.channel_ratio)
    return {
        trace: {"channel_ratio": one.channel_ratio, "stack_ratio": one.stack_ratio}
        for trace, one in found.items()
    }


def part_identity(point: Point, settings: Settings) -> dict[str, Any]:
    """Return all that makes a point's parts what they are; a cache names them by its hash."""
    return {
        "trace": point.trace.hash,
        "policy": point.method.policy,
        "policy_parameters": point.method.parameters,
        "layout": repr(point.method.placer),
        "layout_name": point.method.layout,
        "budget": repr(point.budget),
        "hardware": point.hardware.values,
        "hardware_name": point.hardware.name,
        "fidelity": settings.fidelity,
        "kv_bits": settings.kv_bits,
        "kv_quantisation": settings.kv_quantisation,
        "seed": settings.seed,
        "device": settings.device,
        "versions": versions(),
    }
