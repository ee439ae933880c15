"""What is drawn: decodes of one model on GPUs, on PIM, and on PIM with replayed policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pimreplay.system.data import load_model
from pimreplay.system.decode import Request, build_system, decode
from pimreplay.system.read_replay import Wanted
from tracegen.base.errors import UserError

OUTPUT_TOKENS = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Question:
    """What one call is asked for."""

    model: str
    gpu: str
    pim: str
    batch: int
    prompt_tokens: int
    output_tokens: int
    results: str | None = None
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One decode: the means of its steps, as `pimreplay decode --json` has them."""

    system: str
    policy: str
    """Policy of the attention: dense unless it is replayed."""
    batch: int
    output_tokens: int
    found: dict[str, Any]

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences."""
        return float(self.found["tokens_per_s"])

    @property
    def energy_j_per_token(self) -> float:
        """Energy of a token."""
        return float(self.found["energy_mj_per_token"]) / 1e3

    @property
    def attention_ratio(self) -> float:
        """Attention's part of a step's time, clustering included."""
        time = self.found["time_ms"]
        return float((time["attention"] + time.get("clustering", 0.0)) / self.found["step_ms"])


@dataclass(frozen=True, slots=True)
class Points:
    """Every decode that is drawn; those that do not fit the memory are missing."""

    question: Question
    alone: tuple[Point, ...]
    """The decode that is asked for, on every system."""
    lengths: tuple[Point, ...]
    """At `OUTPUT_TOKENS`, the batch as asked for."""
    batches: tuple[Point, ...]
    """At `BATCHES`, the tokens as asked for."""

    @property
    def systems(self) -> list[str]:
        """Names of the systems, in order."""
        return [one.system for one in self.alone]


Decode = Callable[[Request], dict[str, Any]]


def compute(question: Question) -> Points:
    """Do every decode.

    Raises:
        UserError: an unknown model, GPU or policy, or a decode that does not fit any memory.
    """
    if bool(question.results) != bool(question.policies):
        raise UserError("--results and --policy: give both, or none of them")
    model = load_model(question.model)
    base = Request(question.batch, question.prompt_tokens, question.output_tokens)
    systems = list(_systems(question))
    lengths = [replace(base, output_tokens=output) for output in OUTPUT_TOKENS]
    batches = [replace(base, batch=batch) for batch in BATCHES]
    return Points(
        question=replace(question, model=model.name),
        alone=tuple(
            Point(name, policy, base.batch, base.output_tokens, run(base))
            for name, policy, run in systems
        ),
        lengths=tuple(_fitting(systems, lengths)),
        batches=tuple(_fitting(systems, batches)),
    )


def _systems(question: Question) -> Sequence[tuple[str, str, Decode]]:
    gpus, pim = (
        build_system(
            name, gpu=question.gpu, gpus=8, mode=question.pim, power_limit=True,
            feedforward_parallel=True, pipeline=True, accounting="physical",
        )
        for name in ("dgx", "dgx_attacc")
    )  # fmt: skip

    def on(system: Any, wanted: Wanted | None) -> Decode:
        return lambda request: decode(system, question.model, request, wanted)

    found = [("GPUs", "dense", on(gpus, None)), ("GPUs and PIM", "dense", on(pim, None))]
    for policy in question.policies:
        wanted = Wanted(str(question.results), policy)
        name = policy.partition(":")[0].partition("@")[0]
        found.append((f"GPUs and PIM, {policy}", name, on(pim, wanted)))
    return found


def _fitting(
    systems: Sequence[tuple[str, str, Decode]], requests: Sequence[Request]
) -> Sequence[Point]:
    points = []
    for name, policy, run in systems:
        for request in requests:
            try:
                found = run(request)
            except UserError as error:
                if "needs" in str(error) and "GiB" in str(error):
                    break  # nor will anything larger fit
                raise
            points.append(Point(name, policy, request.batch, request.output_tokens, found))
    return points
