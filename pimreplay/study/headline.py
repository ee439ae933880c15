"""What a run says before it starts: what is replayed, on what, with which exceptions."""

from collections.abc import Iterable, Iterator, Sequence

from pimreplay.cost.occupancy import Occupancy
from pimreplay.replay.settings import Settings
from pimreplay.study.jobs import layers_of
from pimreplay.study.plan import Point, TraceSource, occupancy_of
from tracegen.base.numbers import write_ranges


def headline(points: Sequence[Point], settings: Settings) -> Iterator[str]:
    """Yield the lines."""
    traces = {point.trace.path: point.trace for point in points}.values()
    studies: dict[str, list[TraceSource]] = {}
    for trace in traces:
        studies.setdefault(trace.prompts or trace.name, []).append(trace)
    for name, prompts in studies.items():
        shape = prompts[0].manifest
        layers = layers_of(points[0], settings) if settings.layers else prompts[0].layers
        marked = " SYNTHETIC, no model behind it," if prompts[0].kind == "synthetic" else ""
        of = f"traces {name}: {len(prompts)} prompts," if prompts[0].prompts else f"trace {name}:"
        yield (
            f"{of}{marked} {prompts[0].model}, layers {write_ranges(layers)},"
            f" {shape.kv_heads} KV heads x {shape.group} query heads,"
            f" {_span(one.manifest.prompt_tokens for one in prompts)} prompt tokens"
            f" + {_span(one.manifest.decode_steps for one in prompts)} steps"
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


def _span(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    return f"{found[0]}" if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _channel_ratio(one: Occupancy) -> float:
    return one.channel_ratio
