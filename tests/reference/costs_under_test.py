"""All that the tests of costs call of `pimreplay`: plain numbers in, plain numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import numpy as np
from slow_energy import PARTS
from slow_step import Device

from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from pimreplay.bank_model.scheduler import schedule
from pimreplay.cost import channels as on_channels
from pimreplay.cost import energy as charging
from pimreplay.cost.channels import kv_head_cost
from pimreplay.cost.command_fidelity import HeadStream
from pimreplay.cost.energy_parts import ENERGY_PARTS, Energy
from pimreplay.cost.step_cost import StepCost
from pimreplay.hardware.device import EnergyTable, Hardware
from pimreplay.hardware.reading import load
from pimreplay.mappings.attacc import Attacc
from pimreplay.selection import kmeans_flops

PRIMES = {
    "activation_pj": 907.0,
    "cell_pj_per_bit": 0.41,
    "bank_group_pj_per_bit": 1.03,
    "global_io_pj_per_bit": 1.27,
    "tsv_pj_per_bit": 0.53,
    "interposer_pj_per_bit": 0.31,
    "mac_pj": 0.37,
    "softmax_pj_per_element": 1.63,
    "background_mw_per_channel": 67.0,
    "refresh_mw_per_channel": 23.0,
}
"""Prices of which no two are alike, so that none can stand for another."""


def hardware(
    level: str,
    *,
    model: str = "activation",
    prices: Mapping[str, float | None] | None = None,
    refresh: bool = True,
    timing: Mapping[str, int] | None = None,
    organisation: Mapping[str, int] | None = None,
    host: Mapping[str, float | None] | None = None,
) -> Hardware:
    """Return AttAcc's device at a level, with these prices over `PRIMES`."""
    one = load(f"attacc_hbm3_{level}")
    return replace(
        one,
        energy=EnergyTable(**{**PRIMES, **(prices or {})}),
        energy_model=model,
        refresh=refresh,
        timing=replace(one.timing, **(timing or {})),
        organisation=replace(one.organisation, **(organisation or {})),
        **(host or {}),
    )


def in_plain_numbers(one: Hardware) -> Device:
    """Return what the twins are told of a device."""
    org = one.organisation
    return Device(
        level=one.level.name,
        channels=org.channels,
        pseudo_channels=org.pseudo_channels,
        ranks=org.ranks,
        bank_groups=org.bank_groups,
        banks=org.banks,
        rows=org.rows,
        columns=org.columns,
        access_bytes=org.access_bytes,
        timing={
            "n" + name[2:-7].upper(): value
            for name, value in asdict(one.timing).items()
            if name.startswith("n_")
        },
        t_ck_ns=one.timing.t_ck_ps / 1000,
        refresh=one.refresh,
        energy=asdict(one.energy),
        host_flops_per_ns=one.host_flops_per_ns,
        host_pj_per_flop=one.host_pj_per_flop,
    )


def step_columns(
    one: Hardware,
    head_dim: int,
    element_bytes: float,
    n_blocks: int,
    steps: Sequence[Sequence[int]],
    q_heads: int,
    fidelity: str = "command",
    channels: int = 1,
) -> tuple[dict[str, list[Any]], np.ndarray, np.ndarray]:
    """Return the result columns of steps that read these blocks, unknown ones as Nones.

    Beside them the cycles of each channel and those that a partner can hide, (channels, steps).
    """
    blocks = np.zeros((len(steps), n_blocks), dtype=bool)
    for row, chosen in zip(blocks, steps, strict=True):
        row[list(chosen)] = True
    mapping = Attacc(one, head_dim, int(8 * element_bytes))
    cost_of = partial(mapping.cost, q_heads=q_heads, fidelity=fidelity)
    cost = kv_head_cost(cost_of, blocks[None], blocks[None], channels)
    columns = {
        name: [None] * len(steps) if values is None else values.tolist()
        for name, values in cost.total.columns(one.t_ck_ns).items()
    }
    return columns, cost.channel_cycles, cost.hidden_cycles


def asked_of_channels(
    keys: Sequence[Sequence[Sequence[int]]],
    values: Sequence[Sequence[Sequence[int]]],
    channels: int,
) -> tuple[list[Any], dict[str, Any]]:
    """Return which blocks of keys and of values are costed, (readings, points, n_blocks) each.

    Beside them the columns of a mapping that knows no rows, whose points take 1, 2, 3, ... cycles.
    """
    asked = []

    def cost_of(own_keys: np.ndarray, own_values: np.ndarray) -> StepCost:
        asked.extend([own_keys.astype(int).tolist(), own_values.astype(int).tolist()])
        number = 1 + np.arange(own_keys.shape[1])
        counts = {one.name: number for one in fields(StepCost)}
        unknown = dict.fromkeys(("n_key_rows", "n_value_rows", "n_activations"))
        energy = Energy(*(number.astype(float) for _ in ENERGY_PARTS))
        return StepCost(**{**counts, **unknown, "energy": energy})

    masks = (np.array(one, dtype=bool) for one in (keys, values))
    return asked, kv_head_cost(cost_of, *masks, channels).total.columns(1.0)


def step_requests(
    one: Hardware, head_dim: int, n_blocks: int, chosen: Sequence[int], q_heads: int
) -> list[tuple[str, int]]:
    """Return the requests (word, address) that `command` fidelity makes of a step in 16 bits."""
    blocks = np.zeros(n_blocks, dtype=bool)
    blocks[list(chosen)] = True
    made = HeadStream(one.geometry(head_dim, 16), n_blocks, q_heads).step(blocks)
    words = [REQUEST_WORDS[kind] for kind in made.kind]
    return list(zip(words, made.address.tolist(), strict=True))


def layer_energy(
    one: Hardware,
    requests: Sequence[tuple[str, int]],
    head_dim: int,
    element_bytes: float,
    kv_heads: int,
    tokens: int,
) -> tuple[int, dict[str, float | None], dict[str, float | None]]:
    """Schedule requests; return cycles and energy by part in the device's model and in AttAcc's."""
    outcome = schedule(
        Requests(
            np.array([REQUEST_WORDS.index(word) for word, _ in requests], dtype=np.uint8),
            np.array([address for _, address in requests], dtype=np.int64),
        ),
        one.organisation,
        one.timing,
        refresh=one.refresh,
    )
    geometry = one.geometry(head_dim, int(8 * element_bytes))
    own, attacc = charging.layer_energy(geometry, outcome, kv_heads, tokens)
    return outcome.cycles, _by_part(own), _by_part(attacc)


def idle_energy(one: Hardware, time_ns: float, channels: int) -> dict[str, list[float] | None]:
    """Return the energy by part of channels that stand still."""
    energy = charging.energy(one, charging.channel_events(time_ns, channels))
    return {
        part: None if value is None else value.tolist() for part, value in energy.parts().items()
    }


def _by_part(energy: Energy) -> dict[str, float | None]:
    values = {part: getattr(energy, f"{part}_pj") for part in (*PARTS, "total")}
    return {part: None if value is None else float(value[0]) for part, value in values.items()}


def overhead_columns(
    one: Hardware, head_dim: int, element_bytes: float, **counts: Sequence[int] | None
) -> dict[str, list[float] | None]:
    """Return the cost of scoring, clustering and remapping; counts by name as steps' numbers."""
    names = ("scored_vectors", "scored_bytes", "clustering_flops", "moved_tokens")
    given = {name: counts.get(name) for name in names}
    cost = Attacc(one, head_dim, int(8 * element_bytes)).overheads(
        **{name: None if n is None else np.array(n, dtype=float) for name, n in given.items()},
    )
    found = {}
    for work in ("scoring", "clustering", "remap"):
        for unit in ("ns", "pj"):
            values = getattr(cost, f"{work}_{unit}")
            found[f"{work}_{unit}"] = None if values is None else values.tolist()
    return found


def channel_cycles(
    one: Hardware,
    cycles: Sequence[Sequence[int]],
    hidden: Sequence[Sequence[int]] | None = None,
    channel_of: Sequence[int] | None = None,
) -> tuple[list[list[int]], list[int]]:
    """Return the cycles of each channel, then of the layer, by step."""
    arguments = (
        one,
        np.array(cycles, dtype=np.int64),
        None if hidden is None else np.array(hidden, dtype=np.int64),
        None if channel_of is None else np.array(channel_of),
    )
    by_channel = on_channels.channel_cycles(*arguments)
    return by_channel.tolist(), by_channel.max(axis=0).tolist()


def flops_of_kmeans(points: int, clusters: int, dim: int, iterations: int) -> int:
    """Return the arithmetic of k-means."""
    return kmeans_flops.flops(points, clusters, dim, iterations)
