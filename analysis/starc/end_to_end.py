"""STARC's end-to-end claims: whole decode steps with the attention that its tables give.

ASPLOS 2026 (doi 10.1145/3779212.3790226), abstract and evaluation: decoding 25-48% faster with
34-56% less energy than full attention, 13-21% and 11-18% than token-wise selection; three models,
batch 16, 2,048 tokens in, 16,000, 24,000 and 32,000 out. Everything but attention is AttAcc's
program (`pimreplay.system`) with its own accounting, as the artefact's is; attention is the mean of
the tables' steps, the artefact's energy included.

The artefact's README prints one line. Its feed-forward time and all its energies are what the
public program computes; its all-reduces, activations and normalisations take an eighth of that, one
for each GPU. So the claims are set beside both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from analysis.starc.claims import Range
from analysis.starc.shapes import Shape, System
from analysis.starc.study import Series, Study
from pimreplay.system.attacc_columns import token_columns
from pimreplay.system.data import load_model
from pimreplay.system.decode import build_system
from pimreplay.system.gpu import Cost
from pimreplay.system.layers import ATTENTION, SOFTMAX, Layer
from pimreplay.system.pim import Pim
from pimreplay.system.step import decode_step

OUTPUT_TOKENS = (16_000, 24_000, 32_000)
MODELS = {"gpt": "GPT-13B", "llama": "LLAMA-7B", "mistral": "Mistral-7B"}
"""Names in AttAcc's model table of the tables' models."""
EIGHTHS = ("g2g_comm", "g_act", "g_lnorm")
"""Times that the README's line gives an eighth of."""
SAMPLE_MS, SAMPLE_MJ = 0.917, 551.9
"""Time and energy of a step in that line: Mistral-7B, STARC, 16,000 tokens out."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One published reduction of a whole decode, as fractions."""

    quantity: str
    versus: str
    low_ratio: float
    high_ratio: float


CLAIMS = (
    Claim("time", "full", 0.25, 0.48),
    Claim("energy", "full", 0.34, 0.56),
    Claim("time", "sparq", 0.13, 0.21),
    Claim("energy", "sparq", 0.11, 0.18),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A decode step of the whole system, the mean of a decode."""

    shape: Shape
    method: str
    output_tokens: int
    attention_ms: float
    time_ms: float
    """As the public program computes it."""
    eighths_ms: float
    """With the eighths of the README's line."""
    energy_mj: float

    def value(self, quantity: str, *, eighths: bool) -> float:
        """Return time or energy."""
        if quantity == "energy":
            return self.energy_mj
        return self.eighths_ms if eighths else self.time_ms


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim beside what comes out, over models and lengths; None: no tables for it."""

    claim: Claim
    computed: Range | None
    eighths: Range | None


@dataclass(frozen=True, slots=True)
class _TabledPim(Pim):
    """AttAcc's stacks, whose attention takes what a table says."""

    attention: Cost

    def layer_cost(self, layer: Layer) -> Cost:
        """Return what a layer of the attention part costs."""
        if layer.kind == SOFTMAX or layer.name == "context":
            return Cost(0.0)  # in the attention's
        return self.attention if layer.kind == ATTENTION else Pim.layer_cost(self, layer)


def steps_of(study: Study) -> list[Step]:
    """Return the mean step of every method, model and length that the tables reach."""
    return [
        step_of(series, output, study.system)
        for series in study.series
        for output in OUTPUT_TOKENS
        if len(series.context) >= output - 1
    ]


def step_of(series: Series, output: int, stacks: System) -> Step:
    """Return the mean step of a decode of so many tokens."""
    steps = slice(output - 1)
    attention = Cost(
        float(series.latency_ns[steps].mean()) / 1e9,
        memory_pj=float(series.artefact.memory_pj[steps].mean()),
        mac_pj=float(series.artefact.compute_pj[steps].mean()),
    )
    system = build_system(
        "dgx_attacc", gpu="H100", gpus=stacks.devices, mode="bank", power_limit=True,
        feedforward_parallel=True, pipeline=True, accounting="attacc",
    )  # fmt: skip
    assert system.pim is not None
    pim = _TabledPim(
        system.pim.mode, system.pim.power_limit, system.pim.physical, system.pim.link_bytes_per_s,
        attention,
    )  # fmt: skip
    model = load_model(MODELS[series.shape.name])
    context = round(float(series.context[steps].mean()))
    costs = decode_step(
        replace(system, pim=pim), model, stacks.batch, context, stacks.element_bytes
    )
    columns = token_columns(costs, model, system)
    saved = sum(columns[name] for name in EIGHTHS) * (1 - 1 / system.gpus)
    return Step(
        series.shape,
        series.method,
        output,
        columns["g_matmul"],
        columns["g_time (ms)"],
        columns["g_time (ms)"] - saved,
        columns["g_energy (nJ)"] / 1e6,
    )


def findings(steps: Sequence[Step]) -> list[Finding]:
    """Set every claim beside the steps."""
    return [
        Finding(claim, *(_reductions(steps, claim, eighths=one) for one in (False, True)))
        for claim in CLAIMS
    ]


def _reductions(steps: Sequence[Step], claim: Claim, *, eighths: bool) -> Range | None:
    found = [
        1
        - starc.value(claim.quantity, eighths=eighths)
        / other.value(claim.quantity, eighths=eighths)
        for starc, other in _pairs(steps, claim.versus)
    ]
    return Range(min(found), max(found)) if found else None


def _pairs(steps: Sequence[Step], versus: str) -> Iterator[tuple[Step, Step]]:
    by_key = {(one.shape.name, one.output_tokens, one.method): one for one in steps}
    for (shape, output, method), one in by_key.items():
        other = by_key.get((shape, output, versus))
        if method == "starc" and other is not None:
            yield one, other
