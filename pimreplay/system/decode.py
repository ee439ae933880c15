"""A whole decode: tokens per second, energy and capacity of a model on a system."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pimreplay.system.attacc_columns import prompt_columns, system_columns, token_columns
from pimreplay.system.capacity import largest_batch, required_bytes
from pimreplay.system.data import Model, load_gpu, load_model
from pimreplay.system.pim import LINK_BYTES_PER_S, NODES, Pim
from pimreplay.system.read_replay import Wanted, read_replay
from pimreplay.system.replayed import Replayed
from pimreplay.system.step import Costs, System, as_counted, decode_step, prefill
from tracegen.base.errors import UserError, nearest

SYSTEMS = ("dgx", "dgx_attacc")
MODES = ("bank", "bg", "buffer")
ACCOUNTINGS = ("attacc", "physical")
POINTS = 33
"""Context lengths at which a long decode is costed; between them its costs are taken as linear."""
_COLUMN = {
    "projections": ("g_qkv_time", "g_prj_time"),
    "feedforward": ("g_ff_time",),
    "attention": ("g_matmul", "g_softmax"),
    "communication": ("g_comm",),
    "activation_and_norm": ("g_etc",),
}
_ENERGY_COLUMN = {
    "weights": ("g_fc_mem_energy", "g_fc_comp_energy"),
    "attention": ("g_attn_mem_energy", "g_attn_comp_energy"),
    "activation_and_norm": ("g_etc_mem_energy", "g_etc_comp_energy"),
    "communication": ("g_comm_energy",),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is decoded: the prompt's pass gives the first of a sequence's `output_tokens`."""

    batch: int
    prompt_tokens: int
    output_tokens: int
    word_bytes: int = 2

    def __post_init__(self) -> None:
        """Refuse what no system can decode."""
        least = {"batch": 1, "prompt_tokens": 1, "output_tokens": 2}
        for name, low in least.items():
            if (value := getattr(self, name)) < low:
                option = name.replace("_", "-")
                raise UserError(f"--{option} {value}: must be at least {low}")
        if self.word_bytes not in (1, 2):
            raise UserError(f"--word-bytes {self.word_bytes}: an element has 1 or 2 bytes")

    @property
    def steps(self) -> int:
        """Decode steps."""
        return self.output_tokens - 1

    @property
    def tokens(self) -> int:
        """Tokens of a full sequence."""
        return self.prompt_tokens + self.steps


def build_system(
    name: str, *, gpu: str, gpus: int, mode: str, power_limit: bool,
    feedforward_parallel: bool, pipeline: bool, accounting: str,
) -> System:  # fmt: skip
    """Build a system from the words of the command line; `UserError` for what is unknown."""
    name = name.replace("-", "_")
    for option, value, known in (
        ("system", name, SYSTEMS), ("pim", mode, MODES), ("accounting", accounting, ACCOUNTINGS),
    ):  # fmt: skip
        if value not in known:
            raise UserError(f"--{option} {value!r}: unknown; {nearest(value, known)}")
    if gpus < 1:
        raise UserError(f"--gpus {gpus}: must be at least 1")
    device = load_gpu(gpu)
    physical = accounting == "physical"
    if name == "dgx":
        return System(device, gpus, physical=physical)
    if gpus != NODES:
        raise UserError(
            f"--gpus {gpus}: dgx_attacc has a PIM node of 5 stacks beside each of its {NODES} GPUs"
        )
    link = device.link_bytes_per_s if physical else LINK_BYTES_PER_S
    pim = Pim(mode, power_limit, physical, link)
    return System(device, gpus, pim, feedforward_parallel, pipeline, physical)


def decode(
    system: System, model_name: str, request: Request, wanted: Wanted | None = None
) -> dict[str, Any]:
    """Return time, energy, breakdown and capacity of a decode as one JSON object.

    Every number is of one generated token of each sequence of the batch, the mean over the steps.
    With `wanted`, attention is that of a replayed policy instead of dense attention.

    Raises:
        UserError: unknown model, heads that do not divide among the GPUs, too little memory, or
            results that do not fit the model and the system.
    """
    model = load_model(model_name)
    if model.q_heads % system.gpus:
        raise UserError(
            f"{model.name}: {model.q_heads} query heads do not divide among {system.gpus} GPUs; "
            "choose another --gpus"
        )
    capacity = _capacity(system, model, request)
    replayed = None if wanted is None else read_replay(wanted, system, model)
    token = _mean_token(system, model, request, replayed)
    prompt_costs = prefill(system, model, request.batch, request.prompt_tokens, request.word_bytes)
    described = system_columns(
        system, model, batch=request.batch, prompt=request.prompt_tokens,
        output=request.output_tokens, word_bytes=request.word_bytes,
    )  # fmt: skip
    attacc = {**described, **prompt_columns(prompt_costs, model, request.steps, system), **token}
    time_ms = {name: sum(token[one] for one in parts) for name, parts in _COLUMN.items()}
    energy_mj = {
        name: sum(token[one] for one in parts) / 1e6 for name, parts in _ENERGY_COLUMN.items()
    }
    step_ms, step_mj = token["g_time (ms)"], token["g_energy (nJ)"] / 1e6
    if replayed is not None:
        time_ms["clustering"], energy_mj["clustering"] = _clustering(
            system, model, request, replayed
        )
        step_ms += time_ms["clustering"]
        step_mj += energy_mj["clustering"]
    return {
        "model": model.name,
        "accounting": "physical" if system.physical else "attacc",
        "steps": request.steps,
        "step_ms": step_ms,
        "tokens_per_s": request.batch / step_ms * 1e3,
        "energy_mj_per_token": step_mj / request.batch,
        "step_energy_mj": step_mj,
        "time_ms": time_ms,
        "energy_mj": energy_mj,
        **capacity,
        "replayed": None if replayed is None else replayed.row(),
        "assumed": _assumed(system, model, request, replayed),
        "attacc": attacc,
    }


def _capacity(system: System, model: Model, request: Request) -> dict[str, Any]:
    counted, grouped = as_counted(model, system), system.physical
    needed = required_bytes(
        counted, request.batch, request.tokens, request.word_bytes, grouped=grouped
    )
    most = largest_batch(
        counted, request.tokens, request.word_bytes, system.memory_bytes, grouped=grouped
    )
    if needed > system.memory_bytes:
        can = f"a batch of {most} fits" if most else "not even one sequence fits"
        raise UserError(
            f"{model.name}: needs {needed / 2**30:.0f} GiB for a batch of {request.batch} and "
            f"{request.tokens} tokens, the system has {system.memory_bytes / 2**30:.0f} GiB; {can}"
        )
    return {
        "required_bytes": needed,
        "memory_bytes": system.memory_bytes,
        "largest_batch": most,
    }


def _mean_token(
    system: System, model: Model, request: Request, replayed: Replayed | None
) -> dict[str, float]:
    """Return the columns of one token, the mean over all steps."""
    lengths = request.prompt_tokens + 1 + np.arange(request.steps)
    points = np.unique(np.linspace(lengths[0], lengths[-1], POINTS).round().astype(np.int64))
    rows = [_token(system, model, request, replayed, int(tokens)) for tokens in points]
    return {
        name: float(np.interp(lengths, points, [row[name] for row in rows]).mean())
        for name in rows[0]
    }


def _token(
    system: System, model: Model, request: Request, replayed: Replayed | None, tokens: int
) -> dict[str, float]:
    """Return the columns of one token when `tokens` are in the cache."""

    def step(read: int) -> Costs:
        return decode_step(system, model, request.batch, read, request.word_bytes)

    dense = token_columns(step(tokens), model, system)
    if replayed is None:
        return dense
    prompt = request.prompt_tokens
    in_time, in_energy = (
        step(work.tokens(tokens, prompt, request.steps))
        for work in (replayed.time, replayed.energy)
    )
    costs = [
        (layer, replace(one, time_s=other.time_s))
        for (_, other), (layer, one) in zip(in_time, in_energy, strict=True)
    ]
    policy = token_columns(costs, model, system)
    share = min(replayed.dense_layers, model.layers) / model.layers
    return {name: share * dense[name] + (1 - share) * policy[name] for name in dense}


def _clustering(
    system: System, model: Model, request: Request, replayed: Replayed
) -> tuple[float, float]:
    """Return time (ms) and energy (mJ) of a step's clustering: each GPU clusters its KV heads."""
    heads = max(0, model.layers - replayed.dense_layers) * model.kv_heads * request.batch
    time_ns, energy_pj = (
        one.mean(request.prompt_tokens, request.steps)
        for one in (replayed.clustering_ns, replayed.clustering_pj)
    )
    return time_ns * heads / system.gpus / 1e6, energy_pj * heads / 1e9


def _assumed(
    system: System, model: Model, request: Request, replayed: Replayed | None
) -> list[str]:
    found = ["kernel and link times: fitted by AttAcc's authors on an A100, scaled by peak rates"]
    if request.steps > POINTS:
        found.append(f"steps between {POINTS} costed context lengths: linear")
    group = model.q_heads // model.kv_heads
    if group > 1 and not system.physical:
        found.append("grouped queries: attention reads a KV head once for each query head")
    if replayed is not None:
        found.append(
            "replay: what a policy reads is taken from its trace's context and layers, in tokens of"
            " dense attention"
        )
        if replayed.group != group:
            found.append(
                f"replay: the trace's KV heads serve {replayed.group} query heads each,"
                f" {model.name}'s {group}"
            )
    return found
