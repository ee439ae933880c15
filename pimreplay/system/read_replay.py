"""Read what a policy does from a results folder: one configuration, as dense tokens.

Everything that does not fit the system or the model is refused in one sentence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pimreplay.mappings import device_of, mapping_of
from pimreplay.placement.blocks import channels_of
from pimreplay.replay.method import method
from pimreplay.results.reader import Results
from pimreplay.system.data import Model
from pimreplay.system.replayed import Clustering, Replayed, Work
from pimreplay.system.step import System
from tracegen.base.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from pimreplay.cost.mapping import Mapping

FloatArray = NDArray[np.float64]
_NAMES = ("policy", "layout", "budget", "hardware")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which configuration of a results folder; None: the only one that fits."""

    folder: str
    policy: str
    """NAME[:param=value,...][@LAYOUT]."""
    budget: str | None = None
    hardware: str | None = None


def read_replay(wanted: Wanted, system: System, model: Model) -> Replayed:
    """Read a configuration of a results folder.

    Raises:
        UserError: the folder cannot be read, does not hold that configuration or several of that
            name, or was replayed on another kind of memory or head size than the system's.
    """
    run = Results.open(wanted.folder)
    row = _configuration(run, wanted, system)
    steps = _steps(run, row)
    mapping, group = _mapping(run, row, model)
    placer = method("dense", row["layout"]).placer
    if channels_of(placer.heads, 2) > 1:
        raise UserError(
            f"{run.path}: layout {row['layout']} spreads a KV head over channels, which the "
            "system's attention does not; replay with a layout of heads=head_per_channel"
        )
    visible = steps["visible_tokens"].to_numpy()
    dense = _DenseCosts.of(mapping, group, 2 * int(visible.max()))
    shares = "%" in row["budget"] or "." in row["budget"] or row["policy"] == "dense"
    prompt = int(visible.min()) - 1
    return Replayed(
        described={name: str(row[name]) for name in ("trace", "model", *_NAMES)},
        dense_layers=int(run.config["configuration"]["dense_layers"]),
        time=_work(run, steps, "ns", dense.tokens, dense.time_ns, shares, prompt),
        energy=_work(run, steps, "pj", dense.tokens, dense.energy_pj, shares, prompt),
        clustering_ns=_clustering(run, steps, "clustering_ns", prompt),
        clustering_pj=_clustering(run, steps, "clustering_pj", prompt),
        group=group,
    )


def _configuration(run: Results, wanted: Wanted, system: System) -> dict[str, Any]:
    """Return the one configuration that is meant; of several traces the first, in order."""
    done = run.tables["points"].filter(status="ok").collect()
    policy, _, layout = wanted.policy.partition("@")
    asked = {
        "policy": policy.partition(":")[0].strip(),
        "layout": layout or None,
        "budget": wanted.budget,
        "hardware": wanted.hardware,
    }
    for name, value in asked.items():
        if value is None:
            continue
        kept = done.filter(**{name: value})
        if kept.is_empty():
            held = ", ".join(done[name].unique().sort())
            raise UserError(f"{run.path}: holds no {name} {value}; it holds {held}")
        done = kept
    kinds = {one["name"]: _kind(one) for one in run.config["hardware"]}
    fitting = [name for name in done["hardware"].unique() if kinds[name] == _kind_of(system)]
    if not fitting:
        found = ", ".join(f"{name} ({kinds[name]})" for name in done["hardware"].unique().sort())
        raise UserError(
            f"{run.path}: was replayed on {found}; a system with attention on {_kind_of(system)} "
            f"needs results of such a device"
        )
    import polars as pl

    done = done.filter(pl.col("hardware").is_in(fitting))
    if ":" in policy:
        parameters = method(policy).parameters
        done = done.filter(policy_parameters=parameters)
        if done.is_empty():
            raise UserError(f"{run.path}: holds no policy {policy}; leave its parameters out")
    for name in (*_NAMES, "policy_parameters"):
        values = done[name].unique().sort()
        if len(values) > 1:
            option = {"policy_parameters": "policy NAME:param=value"}.get(name, name)
            raise UserError(
                f"{run.path}: holds {name} {', '.join(values)}; name one with --{option}"
            )
    row: dict[str, Any] = done.sort("trace").row(0, named=True)
    row["trace"] = ", ".join(done["trace"].unique().sort())
    return row


def _kind(recorded: dict[str, Any]) -> str:
    """Say which attention a recorded device does, as `_kind_of` says it of a system."""
    values = recorded["values"]
    mapping = values.get("mapping", "attacc")
    return f"AttAcc's PIM, level {values['pim']['level']}" if mapping == "attacc" else mapping


def _kind_of(system: System) -> str:
    return "gpu" if system.pim is None else f"AttAcc's PIM, level {system.pim.mode}"


def _steps(run: Results, row: dict[str, Any]) -> "pl.DataFrame":
    """Return the steps in layers that the policy decides, mean over their KV heads and traces."""
    import polars as pl

    key = {name: row[name] for name in (*_NAMES, "policy_parameters")}
    decided = run.tables["steps"].filter(**key)
    if row["policy"] != "dense":
        decided = decided.filter(~pl.col("dense_layer"))
    values = ["latency_ns", "energy_pj"]
    values += [
        f"{part}_{unit}" for part in ("scoring", "clustering", "remap") for unit in ("ns", "pj")
    ]
    known = [
        pl.when(pl.col(name).null_count() == 0).then(pl.col(name).mean()).alias(name)
        for name in values
    ]
    steps = (
        decided.group_by("step").agg(pl.col("visible_tokens").mean(), *known).sort("step").collect()
    )
    if steps.is_empty():
        raise UserError(
            f"{run.path}: {row['policy']} decides no layer of it; replay with fewer --dense-layers"
        )
    return steps


def _mapping(run: Results, row: dict[str, Any], model: Model) -> "tuple[Mapping, int]":
    """Return how the replayed KV heads lay in their device, and the size of their group."""
    recorded = next(one for one in run.config["hardware"] if one["name"] == row["hardware"])
    name = row["trace"].partition(", ")[0]
    trace = next(one for one in run.config["traces"] if one["name"] == name)
    sizes = trace["head_dim"] if isinstance(trace["head_dim"], list) else [trace["head_dim"]]
    if set(sizes) != {model.head_dim}:
        found = ", ".join(str(size) for size in sorted(set(sizes)))
        raise UserError(
            f"{run.path}: was replayed with heads of {found} elements, {model.name} has heads of "
            f"{model.head_dim}; use results of a model with such heads"
        )
    device = device_of(Path(f"{recorded['name']}.toml"), recorded["values"])
    kv_bits = int(run.config["configuration"]["kv_bits"])
    group = int(trace["q_heads"]) // int(trace["kv_heads"])
    return mapping_of(device, model.head_dim, kv_bits), group


@dataclass(frozen=True, slots=True)
class _DenseCosts:
    """What dense attention takes on the device of a replay."""

    tokens: FloatArray
    time_ns: FloatArray
    energy_pj: FloatArray | None

    @classmethod
    def of(cls, mapping: "Mapping", group: int, most_tokens: int) -> "_DenseCosts":
        """Read the first tokens of a cache, more and more of them."""
        size = max(mapping.keys.block_tokens, mapping.values.block_tokens)
        counts = size * np.arange(-(-most_tokens // size) + 1)
        readings = 1 if mapping.together else group
        keys, values = (
            np.broadcast_to(
                np.arange(counts[-1] // one.block_tokens) < counts[:, None] // one.block_tokens,
                (readings, len(counts), counts[-1] // one.block_tokens),
            )
            for one in (mapping.keys, mapping.values)
        )
        cost = mapping.cost(keys, values, group, "analytic")
        time_ns = cost.cycles.astype(np.float64) * mapping.device.t_ck_ns
        return cls(counts.astype(np.float64), time_ns, cost.energy.total_pj)


def _work(
    run: Results,
    steps: "pl.DataFrame",
    unit: str,
    tokens: FloatArray,
    costs: FloatArray | None,
    shares: bool,
    prompt: int,
) -> Work:
    whole = "latency_ns" if unit == "ns" else "energy_pj"
    if costs is None:
        raise UserError(
            f"{run.path}: {whole} is not known on that device; choose a device whose energy is"
        )
    attention, scoring, remap = (
        _known(run, steps, name) for name in (whole, f"scoring_{unit}", f"remap_{unit}")
    )
    visible = steps["visible_tokens"].to_numpy()
    read = np.interp(attention, costs, tokens)
    dense = np.interp(visible, tokens, costs)
    moved = remap / dense * visible
    return Work(
        attention_tokens=0.0 if shares else float(read.mean()),
        attention_ratio=float((read / visible).mean()) if shares else 0.0,
        scoring_ratio=float((scoring / dense).mean()),
        remap_tokens=_later(moved),
        prompt_remap_ratio=float(moved[0]) / prompt,
    )


def _clustering(run: Results, steps: "pl.DataFrame", name: str, prompt: int) -> Clustering:
    amount = _known(run, steps, name)
    return Clustering(_later(amount), float(amount[0]) / prompt)


def _later(amount: FloatArray) -> float:
    """Return the mean of all steps but the first, to which the prompt's work is charged."""
    return float(amount[1:].mean()) if len(amount) > 1 else 0.0


def _known(run: Results, steps: "pl.DataFrame", name: str) -> FloatArray:
    if steps[name].null_count():
        raise UserError(
            f"{run.path}: {name} is not known for that policy on that device, so a whole step is "
            "not either; choose another device or policy"
        )
    return np.asarray(steps[name].to_numpy(), dtype=np.float64)
