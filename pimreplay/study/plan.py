"""What a replay is asked to do: points, each one policy on one layout, device, budget and trace.

Names are resolved here, once, before any work: an unknown one stops the run at its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pimreplay.cost.occupancy import KvCache, Occupancy, occupancy
from pimreplay.mappings import mapping_of
from pimreplay.placement.blocks import channels_of
from pimreplay.replay.method import Method
from pimreplay.replay.settings import Settings
from tracegen.base.errors import UserError
from tracegen.base.space import in_words
from tracegen.trace.schema import Manifest

if TYPE_CHECKING:
    from pimreplay.hardware.device import Device
    from pimreplay.selection.budget import Budget
    from pimreplay.selection.budget_schedule import BudgetSchedule


@dataclass(frozen=True, slots=True)
class TraceSource:
    """A trace by path, with what identifies it."""

    name: str
    path: str
    hash: str
    model: str
    kind: str
    manifest: Manifest
    prompts: str = ""
    """Folder of traces, one a prompt, that it was given in; empty: it was given alone."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Captured layers."""
        return self.manifest.layers

    @property
    def kv_heads(self) -> int:
        """KV heads of a layer."""
        return self.manifest.kv_heads


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a study."""

    trace: TraceSource
    method: Method
    budget: "Budget | BudgetSchedule"
    hardware: "Device"

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


def occupancy_of(point: Point, settings: Settings) -> Occupancy:
    """Return how full the KV cache of a point's trace makes its device."""
    manifest = point.trace.manifest
    layers = tuple(
        mapping_of(point.hardware, manifest.head_dim_of(layer), settings.kv_bits)
        for layer in manifest.kv_layers
    )
    cache = KvCache(layers, manifest.kv_heads, manifest.tokens)
    spread = channels_of(point.method.placer.heads, point.hardware.channels)
    return occupancy(cache, spread, settings.stacks)


def refuse_overfull(point: Point, settings: Settings) -> None:
    """Raise `UserError` when a point's device cannot hold the KV cache of its trace."""
    found = occupancy_of(point, settings)
    if found.channel_ratio <= 1:
        return
    manifest = point.trace.manifest
    remedy = "fewer --kv-bits, or a shorter trace"
    if found.stacks_needed:
        remedy = f"--stacks {found.stacks_needed} (layers are dealt out over stacks), {remedy}"
    raise UserError(
        f"hardware {point.hardware.name}: {len(manifest.kv_layers)} layers x {manifest.kv_heads} KV"
        f" heads x {manifest.tokens:,} tokens take {in_words(found.fullest_channel_bytes)} of"
        f" a channel that has {in_words(found.channel_bytes)}; give {remedy}"
    )


def refuse_uncovered(point: Point, settings: Settings) -> None:
    """Raise `UserError` when a schedule lacks the budget of a KV head that a policy chooses for."""
    for layer in settings.layers or point.trace.layers:
        for kv_head in range(point.trace.kv_heads) if layer >= settings.dense_layers else ():
            point.budget.of(layer, kv_head)


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
