"""What a replay is asked to do: points, each one policy on one layout, device, budget and trace.

Names are resolved here, once, before any work: an unknown one stops the run at its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracegen.base.errors import UserError
from tracegen.trace.schema import Manifest

if TYPE_CHECKING:
    from pimreplay.hardware.device import Hardware
    from pimreplay.selection.budget import Budget

CLUSTERING_POLICIES = ("starc", "clusterkv", "retroinfer")
"""Policies that put tokens in groups; their usual layout stores each group together."""


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
