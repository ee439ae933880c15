"""One decode step of a whole system: every layer's cost, overlapped as the system overlaps them.

Source: scale-snu/attacc_simulator @ c600051, src/system.py.
"""

from dataclasses import dataclass, replace

from pimreplay.system.data import Gpu, Model
from pimreplay.system.gpu import Cost, layer_cost
from pimreplay.system.layers import ATTENTION, PIM_LINK, SOFTMAX, Layer, block
from pimreplay.system.pim import Pim

_ON_PIM = (ATTENTION, SOFTMAX, PIM_LINK)


@dataclass(frozen=True, slots=True)
class System:
    """GPUs, and PIM stacks for attention where there are any."""

    gpu: Gpu
    gpus: int
    pim: Pim | None = None
    feedforward_parallel: bool = False
    """Feed-forward matrices lie in both memories and are multiplied in both at once."""
    pipeline: bool = False
    """Heads are pipelined through projections and attention."""
    physical: bool = True

    @property
    def memory_bytes(self) -> int:
        """Capacity of all memories."""
        own = self.gpu.memory_bytes * self.gpus
        return own + (self.pim.memory_bytes if self.pim else 0)


Costs = list[tuple[Layer, Cost]]


def decode_step(system: System, model: Model, batch: int, tokens: int, word_bytes: int) -> Costs:
    """Return every layer of one decoder block and its cost, when `tokens` are attended to."""
    on_pim = system.pim is not None
    layers = block(
        as_counted(model, system), gpus=system.gpus, batch=batch, rows=1, tokens=tokens,
        word_bytes=word_bytes, on_pim=on_pim, grouped=system.physical,
    )  # fmt: skip
    costs = [
        (
            layer,
            system.pim.layer_cost(layer)
            if system.pim is not None and layer.kind in _ON_PIM
            else layer_cost(system.gpu, system.gpus, layer),
        )
        for layer in layers
    ]
    if system.pim is not None:
        costs = _overlapped(costs, system, model)
        if system.feedforward_parallel:
            costs = [
                (layer, _shared(layer, cost, system, system.pim, batch)) for layer, cost in costs
            ]
    return costs


def prefill(system: System, model: Model, batch: int, tokens: int, word_bytes: int) -> Costs:
    """Return every layer of one decoder block and its cost on the GPUs, for a whole prompt."""
    layers = block(
        as_counted(model, system), gpus=system.gpus, batch=batch, rows=tokens, tokens=tokens,
        word_bytes=word_bytes, on_pim=False, grouped=system.physical,
    )  # fmt: skip
    return [(layer, layer_cost(system.gpu, system.gpus, layer)) for layer in layers]


def as_counted(model: Model, system: System) -> Model:
    """Return the model as the accounting sees it.

    AttAcc gates the feed-forward part of models called LLAMA only.
    """
    gated = model.feedforward == "swiglu"
    if system.physical or not gated or "LLAMA" in model.name:
        return model
    return replace(model, feedforward="gelu")


def _overlapped(costs: Costs, system: System, model: Model) -> Costs:
    """Hide what runs behind attention, but for the first KV head's share of it."""
    time = {"qkv": 0.0, "proj": 0.0, "comm_x2g": 0.0, "score": 0.0, "context": 0.0, "softmax": 0.0}
    for layer, cost in costs:
        if layer.name in time:
            time[layer.name] += cost.time_s
    first = system.gpus / model.q_heads
    attention = time["score"] + time["context"] + time["softmax"]
    weights = time["qkv"] + time["proj"]
    link = time["comm_x2g"]
    rest = attention * (1 - first)
    time["comm_x2g"] = link * first if attention > link else link - rest
    if system.pipeline and attention > weights:
        time["qkv"] *= first
        time["proj"] *= first
    elif system.pipeline and weights > link:
        time["comm_x2g"] = link * first
        time["qkv"] -= rest * 3 / 4
        time["proj"] -= rest / 4
    elif system.pipeline:
        time["comm_x2g"] = link - rest
        time["qkv"] *= first
        time["proj"] *= first
    time["softmax"] = 0.0
    time["comm_x2g"] /= 2  # queries, keys and values go one way, results the other
    return [
        (layer, replace(cost, time_s=time[layer.name]) if layer.name in time else cost)
        for layer, cost in costs
    ]


def _shared(layer: Layer, cost: Cost, system: System, pim: Pim, batch: int) -> Cost:
    """Shorten a feed-forward product that GPU and PIM do together, by their rates."""
    if not layer.name.startswith("ff"):
        return cost
    if cost.memory_bound:
        own, other = system.gpu.memory_bytes_per_s, pim.bytes_per_s / batch
    else:
        own, other = system.gpu.flops_per_s, 2 * pim.bytes_per_s / layer.word_bytes
    return replace(cost, time_s=cost.time_s * own / (own + other))
