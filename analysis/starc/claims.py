"""What the two versions of the STARC paper claim, and how the tables compare.

Version 1: arXiv 2505.05772v1, abstract, May 2025. ASPLOS: doi 10.1145/3779212.3790226, abstract,
2026. Both are reductions of the attention layer's latency and energy at a budget of 1,024.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.starc.study import CONTEXTS, Series, Study, quantities

FloatArray = NDArray[np.float64]
Quantity = Literal["latency", "energy"]

SMOOTHED_STEPS = 257
"""Steps averaged before a curve is read off: one step's number of block rows is noisy."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One published reduction, as fractions."""

    version: str
    quantity: Quantity
    versus: Literal["full", "token-wise"]
    low_ratio: float | None
    """None: the claim is "up to"."""
    high_ratio: float

    @property
    def text(self) -> str:
        """The claim as published."""
        high = f"{100 * self.high_ratio:.0f} %"
        return f"up to {high}" if self.low_ratio is None else f"{100 * self.low_ratio:.0f}-{high}"


V1, ASPLOS = "v1 (arXiv, May 2025)", "ASPLOS 2026"
CLAIMS = (
    Claim(V1, "latency", "token-wise", 0.19, 0.31),
    Claim(V1, "energy", "token-wise", 0.19, 0.27),
    Claim(V1, "latency", "full", 0.54, 0.74),
    Claim(V1, "energy", "full", 0.45, 0.67),
    Claim(ASPLOS, "latency", "token-wise", None, 0.78),
    Claim(ASPLOS, "energy", "token-wise", None, 0.65),
    Claim(ASPLOS, "latency", "full", None, 0.93),
    Claim(ASPLOS, "energy", "full", None, 0.92),
)


@dataclass(frozen=True, slots=True)
class Range:
    """Least and greatest of several reductions, as fractions."""

    low_ratio: float
    high_ratio: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim beside what the tables give, over every model that has them; None: not known."""

    claim: Claim
    steps: Range | None
    """Single steps at the report's contexts; energy as the artefact counts it."""
    decode: Range | None
    """Decodes that end at the report's contexts, from the first step on."""
    most: float | None
    """Of the whole decode, the greatest of the models."""
    most_step: float | None
    """The greatest of any single step."""
    memory: Range | None
    """As `decode`, the artefact's memory energy alone; None for latency."""
    memory_most: float | None
    """As `most`, the artefact's memory energy alone; None for latency."""
    counted: Range | None
    """As `decode`, the energy by counted events; None for latency."""
    crossed_tokens: tuple[int | None, int | None]
    """Contexts at which the smoothed step reaches the claim's ends: first model that does."""


def findings(study: Study) -> list[Finding]:
    """Set every claim beside the tables; nothing is known where STARC's are missing."""
    return [_finding(study, claim) for claim in CLAIMS]


def reduction(
    starc: Series, other: Series, quantity: str, from_start: bool = False
) -> FloatArray | None:
    """Return 1 - STARC / other at each step, (steps,), or of all steps up to each.

    Args:
        starc: STARC.
        other: Full attention or SparQ on the same model.
        quantity: `latency`, `artefact_energy`, `artefact_memory` or `energy`.
        from_start: Of the decode from the first step on, instead of the step.
    """
    values, base = _values(starc, quantity), _values(other, quantity)
    if values is None or base is None:
        return None
    length = min(len(values), len(base))
    values, base = values[:length], base[:length]
    if from_start:
        values, base = values.cumsum(), base.cumsum()
    result: FloatArray = 1 - values / base
    return result


def smoothed(values: FloatArray, steps: int = SMOOTHED_STEPS) -> FloatArray:
    """Return a running mean, shorter windows at the ends."""
    half = steps // 2
    sums = np.concatenate([[0.0], values.cumsum()])
    place = np.arange(len(values))
    first, last = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    result: FloatArray = (sums[last] - sums[first]) / (last - first)
    return result


def _pairs(study: Study, claim: Claim) -> Iterator[tuple[Series, Series]]:
    for series in study.series:
        if series.method == "starc":
            other = study.of(series.shape, "full" if claim.versus == "full" else "sparq")
            if other is not None:
                yield series, other


def _finding(study: Study, claim: Claim) -> Finding:
    name = "latency" if claim.quantity == "latency" else "artefact_energy"
    steps: list[float] = []
    decode: list[float] = []
    whole: list[float] = []
    best: list[float] = []
    memory: list[float] = []
    memory_whole: list[float] = []
    counted: list[float] = []
    crossings: list[tuple[int | None, int | None]] = []
    for starc, other in _pairs(study, claim):
        step, mean = reduction(starc, other, name), reduction(starc, other, name, True)
        assert step is not None
        assert mean is not None
        places = [starc.step_at(tokens) for tokens in CONTEXTS]
        places = [place for place in places if place is not None and place < len(step)]
        steps += [float(step[place]) for place in places]
        decode += [float(mean[place]) for place in places]
        whole.append(float(mean[-1]))
        best.append(float(step.max()))
        for quantity, kept in (("artefact_memory", memory), ("energy", counted)):
            own = reduction(starc, other, quantity, True)
            if own is not None and claim.quantity == "energy":
                kept += [float(own[place]) for place in places]
                memory_whole += [float(own[-1])] * (kept is memory)
        curve = smoothed(step)
        crossings.append(
            (
                None if claim.low_ratio is None else _reached(starc, curve, claim.low_ratio),
                _reached(starc, curve, claim.high_ratio),
            )
        )
    firsts = [low for low, _ in crossings if low is not None]
    lasts = [high for _, high in crossings if high is not None]
    return Finding(
        claim,
        _range(steps),
        _range(decode),
        max(whole, default=None),
        max(best, default=None),
        _range(memory),
        max(memory_whole, default=None),
        _range(counted),
        (min(firsts, default=None), min(lasts, default=None)),
    )


def _values(series: Series, quantity: str) -> FloatArray | None:
    for name, _, values in quantities(series):
        if name == quantity:
            return values
    return None


def _reached(series: Series, curve: FloatArray, ratio: float) -> int | None:
    above = np.flatnonzero(curve >= ratio)
    return int(series.context[above[0]]) if len(above) else None


def _range(values: Sequence[float]) -> Range | None:
    return Range(min(values), max(values)) if values else None


def verdict(finding: Finding) -> str:
    """Say in a few words where the tables stand against a claim."""
    claim, own = finding.claim, finding.decode
    if own is None or finding.most is None:
        sparq = " and a SparQ table of the same model" if claim.versus == "token-wise" else ""
        return f"not known: needs a STARC table{sparq}, as long as the contexts"
    if claim.low_ratio is not None:
        return _place(own, claim.low_ratio, claim.high_ratio)
    gap = 100 * (finding.most - claim.high_ratio)
    if abs(gap) < 2:
        return "agrees within 2 points over the whole decode"
    return f"{abs(gap):.0f} points {'above' if gap > 0 else 'below'} it over the whole decode"


def _place(own: Range, low: float, high: float) -> str:
    beyond = own.low_ratio > high, own.high_ratio < low
    inside = own.low_ratio >= low and own.high_ratio <= high
    words = {
        "above the published range everywhere": beyond[0],
        "below the published range everywhere": beyond[1],
        "within the published range": inside,
        "within the range at short contexts, above it at long ones": own.high_ratio > high,
        "within the range at some contexts, below it at others": True,
    }
    return next(text for text, holds in words.items() if holds)
