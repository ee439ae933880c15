"""What a replay is asked to do: points, each one policy on one layout, device, budget and trace.

Names are resolved here, once, before any work: an unknown one stops the run at its start. The
hash of a point's parts decides what the cache of a sweep may reuse.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracegen.base.errors import UserError
from tracegen.trace.schema import ITEM_BYTES, Manifest

if TYPE_CHECKING:
    from pimreplay.hardware.device import Hardware
    from pimreplay.selection.budget import Budget

CLUSTERING_POLICIES = ("starc", "clusterkv", "retroinfer")
"""Policies that put tokens in groups; their usual layout stores each group together."""
TRACE_FACTS = ("q_heads", "kv_heads", "head_dim", "dtype", "prompt_tokens", "decode_steps")
LIBRARIES = ("numpy", "torch", "numba", "polars", "pyarrow")


@dataclass(frozen=True, slots=True)
class Method:
    """A policy with its parameters resolved, and the layout it is replayed on."""

    policy: str
    parameters: str
    """Every parameter as `name=value`, defaults included."""
    selector: Any
    """The policy object: `select(head, budget)`."""
    layout: str
    placer: Any
    """The layout object: `place(...)`."""


@dataclass(frozen=True, slots=True)
class TraceSource:
    """A trace by path, with what identifies it."""

    name: str
    path: str
    hash: str
    model: str
    kind: str
    manifest: Manifest

    @property
    def layers(self) -> tuple[int, ...]:
        """Captured layers."""
        return self.manifest.layers

    @property
    def kv_heads(self) -> int:
        """KV heads of a layer."""
        return self.manifest.kv_heads


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to the whole replay and not to a point."""

    dense_layers: int = 2
    fidelity: str = "analytic"
    layers: tuple[int, ...] | None = None
    """Layers to replay; None: every captured one."""
    seed: int = 0
    device: str = "cpu"
    memory_bytes: int | None = None
    """Bound on the memory of all workers together; None: 1.25 GB a worker."""
    selections: bool | None = False
    """Keep the selections in the results; None: when they are small."""


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a study."""

    trace: TraceSource
    method: Method
    budget: "Budget"
    hardware: "Hardware"

    @property
    def budget_text(self) -> str:
        """The budget as it stands in the tables: 1024, or 0.1."""
        return str(self.budget)

    @property
    def name(self) -> str:
        """A readable name that no other point of a replay has."""
        parameters = f":{self.method.parameters}" if self.method.parameters else ""
        return (
            f"{self.trace.name}/{self.method.policy}{parameters}@{self.method.layout}"
            f"/{self.budget_text}/{self.hardware.name}"
        )

    def key(self) -> dict[str, str]:
        """Return the columns that name this point in every table."""
        return {
            "trace": self.trace.name,
            "model": self.trace.model,
            "trace_kind": self.trace.kind,
            "policy": self.method.policy,
            "policy_parameters": self.method.parameters,
            "layout": self.method.layout,
            "hardware": self.hardware.name,
            "budget": self.budget_text,
        }


def method(text: str, layout: str | None = None) -> Method:
    """Resolve `NAME[:param=value,...][@LAYOUT]` to a method.

    The layout is the one after `@`, else `layout`, else the policy's usual one: `clustered` for
    policies that group tokens, `sequential` for the others.

    Raises:
        UserError: an unknown policy, parameter or layout.
    """
    from pimreplay.layouts import load_layout
    from pimreplay.policies import load_policy

    policy_text, _, own_layout = text.partition("@")
    selector = load_policy(policy_text)
    policy = policy_text.partition(":")[0].strip()
    layout_text = own_layout or layout or usual_layout(policy)
    return Method(
        policy=policy,
        parameters=_parameters(selector),
        selector=selector,
        layout=layout_text,
        placer=load_layout(layout_text),
    )


def usual_layout(policy: str) -> str:
    """Return the layout that a policy is replayed on when none is named."""
    return "clustered" if policy in CLUSTERING_POLICIES else "sequential"


def _parameters(variant: Any) -> str:
    return ",".join(f"{field.name}={getattr(variant, field.name)}" for field in fields(variant))


def trace_source(path: str) -> TraceSource:
    """Open a trace and return what a plan needs of it.

    Raises:
        UserError: no trace is there, or it is damaged or of a newer schema.
    """
    from tracegen.trace.store import Trace

    trace = Trace.open(path)
    manifest = trace.manifest
    return TraceSource(
        name=path.rstrip("/").rsplit("/", 1)[-1],
        path=str(Path(path).absolute()) if "://" not in path else path,
        hash=trace.hash,
        model=manifest.model,
        kind=manifest.kind,
        manifest=manifest,
    )


def layer_numbers(
    texts: Sequence[str], known: tuple[int, ...], asked: str = "--layer"
) -> tuple[int, ...]:
    """Parse `3`, `0-4` and `0,2,5` against the layers of a trace; `asked` names the option.

    Raises:
        UserError: no layer number, or a layer that the trace lacks.
    """
    wanted: set[int] = set()
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not found:
            raise UserError(f"{asked} {part!r}: not a layer; give 3, 0-4 or 0,2,5")
        first = int(found[1])
        wanted.update(range(first, int(found[2] or first) + 1))
    missing = sorted(wanted - set(known))
    if missing:
        raise UserError(f"{asked} {missing[0]}: not in the trace; captured layers: {ranges(known)}")
    return tuple(sorted(wanted))


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers shortly: 0-3, 7.

    >>> ranges([0, 1, 2, 3, 7])
    '0-3, 7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def refuse_double(points: Sequence[Point]) -> None:
    """Raise `UserError` when two points have one name."""
    seen: dict[str, Point] = {}
    for point in points:
        if point.name in seen:
            raise UserError(
                f"two points have one name, {point.name}; name each trace folder, policy, budget "
                "and hardware file once"
            )
        seen[point.name] = point


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


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(points: Sequence[Point], settings: Settings) -> dict[str, Any]:
    """Return the content of `run.json`: everything that made the results, and its hash."""
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
        "layers": settings.layers,
        "seed": settings.seed,
        "device": settings.device,
    }
    made_by = {
        "configuration": configuration,
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
                "path": trace.path,
                "hash": trace.hash,
                "kind": trace.kind,
                "model": trace.model,
                "layers": list(trace.layers),
                **{name: getattr(trace.manifest, name) for name in TRACE_FACTS},
            }
            for trace in traces.values()
        ],
        "configuration": configuration,
        "hardware": [
            {
                "name": one.name,
                "title": one.title,
                "assumed": list(one.assumed),
                "notes": list(one.notes),
                "energy_model": one.energy_model,
                "channels": one.organisation.channels,
                "t_ck_ns": one.t_ck_ns,
                "geometry": {
                    trace.name: asdict(
                        one.geometry(trace.manifest.head_dim, ITEM_BYTES[trace.manifest.dtype])
                    )
                    for trace in traces.values()
                },
                "values": one.values,
            }
            for one in hardware.values()
        ],
        "versions": versions(),
    }
