"""What a run says before it starts: what is replayed, on what, with which exceptions."""

from collections.abc import Iterator, Sequence

from pimreplay.cost.occupancy import Occupancy
from pimreplay.replay.settings import Settings
from pimreplay.study.jobs import layers_of
from pimreplay.study.plan import Point, occupancy_of
from tracegen.base.numbers import write_ranges


def headline(points: Sequence[Point], settings: Settings) -> Iterator[str]:
    """Yield the lines."""
    for trace in {point.trace.path: point.trace for point in points}.values():
        shape = trace.manifest
        layers = layers_of(points[0], settings) if settings.layers else trace.layers
        marked = " SYNTHETIC, no model behind it," if trace.kind == "synthetic" else ""
        yield (
            f"trace {trace.name}:{marked} {trace.model}, layers {write_ranges(layers)},"
            f" {shape.kv_heads} KV heads x {shape.group} query heads,"
            f" {shape.prompt_tokens} prompt tokens + {shape.decode_steps} steps"
        )
    methods = {f"{p.method.policy} on {p.method.layout}": None for p in points}
    budgets = {point.budget_text: None for point in points}
    hardware = {point.hardware.name: point.hardware for point in points}
    yield f"policies: {', '.join(methods)}; budget {', '.join(budgets)}"
    assumed = sum(len(one.assumed) for one in hardware.values())
    yield (
        f"hardware: {', '.join(hardware)} ({settings.kv_bits} bits a KV element,"
        f" quantisation {settings.kv_quantisation},"
        f" {settings.fidelity}, {assumed} assumed values, listed in run.json)"
    )
    fullest = max((occupancy_of(point, settings) for point in points), key=_channel_ratio)
    plural = "" if settings.stacks == 1 else "s"
    yield (
        f"capacity: the fullest channel is {fullest.channel_ratio:.1%} full, the fullest of"
        f" {settings.stacks} stack{plural} {fullest.stack_ratio:.1%}"
    )
    yield f"dense layers: the model's first {settings.dense_layers} (--dense-layers)"
    replayed = {layer for point in points for layer in layers_of(point, settings)}
    if max(replayed) < settings.dense_layers:
        yield (
            f"note: layers {write_ranges(replayed)} are all dense layers, so no policy chooses "
            "anything; give --dense-layers 0 to see what they choose"
        )


def _channel_ratio(one: Occupancy) -> float:
    return one.channel_ratio
