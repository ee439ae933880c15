"""The layers of one decoder block: what each one multiplies, element-wise processes or sends.

Sizes are those of one GPU under tensor parallelism: query heads and inner sizes are dealt out over
GPUs.
Source: scale-snu/attacc_simulator @ c600051, src/model.py.
"""

from dataclasses import dataclass, replace

from pimreplay.system.data import Model

WEIGHTS, ATTENTION, ACTIVATION, SOFTMAX, NORM, GPU_LINK, PIM_LINK = (
    "weights", "attention", "activation", "softmax", "norm", "gpu_link", "pim_link",
)  # fmt: skip
PRODUCTS = (WEIGHTS, ATTENTION)
LINKS = (GPU_LINK, PIM_LINK)
_FLOPS_PER_ELEMENT = {"relu": 1, "gelu": 8, "swiglu": 9}
"""AttAcc's counts of operations in an activation."""
_FLOPS_OF_ELEMENTWISE = 5
"""The same for softmax and normalisation."""


@dataclass(frozen=True, slots=True)
class Layer:
    """`count` products of (m, k) and (k, n), or an operation on `count` arrays of (m, n)."""

    name: str
    kind: str
    m: int
    n: float
    k: float = 1
    count: int = 1
    split: int = 1
    """Thread blocks that share one of the `count`: a cache read for a group is split over it."""
    word_bytes: int = 2

    @property
    def flops(self) -> float:
        """Operations, two a multiply-accumulate."""
        elements = self.m * self.n * self.count
        if self.kind in PRODUCTS:
            return 2 * elements * self.k
        if self.kind == ACTIVATION:
            return _FLOPS_PER_ELEMENT[self.name] * elements
        return 0 if self.kind in LINKS else _FLOPS_OF_ELEMENTWISE * elements

    @property
    def bytes_moved(self) -> float:
        """Bytes that an element-wise layer reads and writes."""
        arrays = 3 if self.kind == NORM or self.name == "swiglu" else 2
        return arrays * self.bytes_sent

    @property
    def bytes_sent(self) -> float:
        """Bytes of the result."""
        return self.m * self.n * self.count * self.word_bytes


def block(
    model: Model, *, gpus: int, batch: int, rows: int, tokens: int, word_bytes: int, on_pim: bool,
    grouped: bool,
) -> list[Layer]:  # fmt: skip
    """Return the layers of one decoder block on one GPU.

    Args:
        model: Shape of the model.
        gpus: GPUs that heads and inner sizes are dealt out over.
        batch: Sequences.
        rows: Queries a sequence: 1 in a decode step, all tokens of the prompt in prefill.
        tokens: Tokens attended to.
        word_bytes: Bytes of an element.
        on_pim: Attention runs on PIM: a step's queries, keys, values and results cross the link.
        grouped: Keys and values are projected, sent and read for KV heads only; AttAcc does so
            for every query head.
    """
    share = model.hidden // gpus
    inner = model.feedforward_ratio * share
    heads = model.q_heads // gpus
    group = min(model.q_heads // model.kv_heads, heads) if grouped else 1
    readings = -(-heads // group) * batch  # of keys and values, each for a group of queries
    qkv = (1 + 2 * model.kv_heads / model.q_heads if grouped else 3) * share
    to_pim = [Layer("comm_x2g", PIM_LINK, batch * rows, qkv)] if on_pim else []
    back = [Layer("comm_x2g", PIM_LINK, 1, model.head_dim, 1, heads * batch)] if on_pim else []
    gather = [Layer("comm_g2g", GPU_LINK, batch * rows, model.hidden)]
    gate = [Layer("ff2", WEIGHTS, batch * rows, inner, model.hidden)]
    gated = model.feedforward == "swiglu"
    layers = [
        Layer("qkv", WEIGHTS, batch * rows, qkv, model.hidden),
        *to_pim,
        Layer("score", ATTENTION, group * rows, tokens, model.head_dim, readings, group),
        Layer("softmax", SOFTMAX, group * rows, tokens, 1, readings),
        Layer("context", ATTENTION, group * rows, model.head_dim, tokens, readings, group),
        *back,
        Layer("proj", WEIGHTS, batch * rows, model.hidden, share),
        *gather,
        Layer("norm1", NORM, batch * rows, model.hidden),
        Layer("ff1", WEIGHTS, batch * rows, inner, model.hidden),
        *(gate if gated else []),
        Layer(model.feedforward, ACTIVATION, batch * rows, inner),
        Layer("ff3" if gated else "ff2", WEIGHTS, batch * rows, model.hidden, inner),
        *gather,
        Layer("norm2", NORM, batch * rows, model.hidden),
    ]
    return [replace(layer, word_bytes=word_bytes) for layer in layers]
