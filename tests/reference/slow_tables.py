"""The tables of results and the metrics made of them again: loops over rows, one number at a time.

It shares no code with `pimreplay` or `analysis`; what the columns mean is said in
docs/results_format.md, what the metrics mean in docs/units.md. None is unknown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slow_costs import channel_cycles

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """What was measured of one KV head of one layer."""

    layer: int
    kv_head: int
    dense_layer: bool
    cycles: Sequence[Sequence[int]]
    """By channel that holds a share of the head, then by step."""
    hidden: Sequence[Sequence[int]]
    energy_pj: Sequence[float] | None
    lane_tokens: Sequence[Sequence[int]]
    """By step, then by channel and lane."""
    scoring_ns: Sequence[float] | None = None
    remap_ns: Sequence[float] | None = None
    clustering_ns: Sequence[float] | None = None


def total(values: Iterable[float | None]) -> float | None:
    """Add up; unknown as soon as one is."""
    found = 0.0
    for value in values:
        if value is None:
            return None
        found += value
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """Average; unknown as soon as one is."""
    found = total(values)
    return None if found is None else found / len(values)


def layer_rows(parts: Sequence[Part], channels: int, t_ck_ns: float) -> list[Row]:
    """Return the rows of `layers`: each layer at each step, its channels side by side."""
    found = []
    for layer in sorted({part.layer for part in parts}):
        heads = [part for part in parts if part.layer == layer]
        place, _ = _places(heads, channels)
        for step in range(len(heads[0].lane_tokens)):
            cycles = [share[step] for head in heads for share in head.cycles]
            hidden = [share[step] for head in heads for share in head.hidden]
            busy = channel_cycles(channels, cycles, hidden, place)
            in_use = [busy[channel] for channel in sorted(set(place))]
            energies = [None if head.energy_pj is None else head.energy_pj[step] for head in heads]
            waited = {channel: busy[channel] * t_ck_ns for channel in set(place)}
            found.append(
                {
                    "layer": layer,
                    "dense_layer": heads[0].dense_layer,
                    "step": step,
                    "latency_ns": max(in_use) * t_ck_ns,
                    "latency_with_scoring_ns": _with_scoring(heads, step, waited, channels),
                    "latency_with_overheads_ns": _with_overheads(heads, step, waited, channels),
                    "energy_pj": total(energies),
                    "busiest_channel_ns": max(in_use) * t_ck_ns,
                    "mean_channel_ns": sum(in_use) / len(in_use) * t_ck_ns,
                }
            )
    return found


def _with_scoring(
    heads: Sequence[Part], step: int, attention_ns: Mapping[int, float], channels: int
) -> float | None:
    """Let each head be scored in the channel of its number, before anything is read there."""
    spent = dict(attention_ns)
    for number, head in enumerate(heads):
        if head.scoring_ns is None:
            return None
        spent[number % channels] = spent.get(number % channels, 0) + head.scoring_ns[step]
    return max(spent.values())


def _with_overheads(
    heads: Sequence[Part], step: int, attention_ns: Mapping[int, float], channels: int
) -> float | None:
    """Score and rewrite in the channels; the host clusters one head after another.

    The layer's reads wait for the host, so what the busiest channel spends comes on top.
    """
    spent = dict(attention_ns)
    host = 0.0
    for number, head in enumerate(heads):
        if head.scoring_ns is None or head.remap_ns is None or head.clustering_ns is None:
            return None
        own = head.scoring_ns[step] + head.remap_ns[step]
        spent[number % channels] = spent.get(number % channels, 0) + own
        host += head.clustering_ns[step]
    return host + max(spent.values())


def channel_rows(parts: Sequence[Part], channels: int) -> list[Row]:
    """Return the rows of `channels`: tokens read from each lane, over all steps."""
    found = []
    for layer in sorted({part.layer for part in parts}):
        heads = [part for part in parts if part.layer == layer]
        place, lanes = _places(heads, channels)
        spread = len(heads[0].cycles)
        for channel in sorted(set(place)):
            for lane in range(lanes):
                tokens = 0
                for index, head in enumerate(heads):
                    for share in range(spread):
                        if place[index * spread + share] == channel:
                            tokens += sum(row[share * lanes + lane] for row in head.lane_tokens)
                found.append(
                    {
                        "layer": layer,
                        "dense_layer": heads[0].dense_layer,
                        "channel": channel,
                        "lane": lane,
                        "tokens": tokens,
                    }
                )
    return found


def _places(heads: Sequence[Part], channels: int) -> tuple[list[int], int]:
    """Return the channel of each share of each head, and the lanes of a channel.

    A spread head has a share in each channel; the others go round the channels.
    """
    spread = len(heads[0].cycles)
    place = []
    for index, _ in enumerate(heads):
        for share in range(spread):
            place.append(share if spread > 1 else index % channels)
    return place, len(heads[0].lane_tokens[0]) // spread


@dataclass(frozen=True)
class Results:
    """The rows of one configuration that are looked at; those of `channels` are of the whole run.

    An amount of a KV head is a mean over steps and a sum over heads and layers, a ratio a mean over
    all three; a layer's amount is a mean over steps and a sum over layers.
    """

    steps: Sequence[Row]
    layers: Sequence[Row]
    channels: Sequence[Row]

    def amount(self, value: Callable[[Row], float | None]) -> float | None:
        found = []
        for layer in sorted({row["layer"] for row in self.steps}):
            for head in sorted({row["kv_head"] for row in self.steps}):
                rows = [r for r in self.steps if (r["layer"], r["kv_head"]) == (layer, head)]
                found.append(mean([value(row) for row in rows]))
        return total(found)

    def ratio(self, name: str) -> float | None:
        return mean([row[name] for row in self.steps])

    def layer_amount(self, name: str) -> float | None:
        found = []
        for layer in sorted({row["layer"] for row in self.layers}):
            found.append(mean([row[name] for row in self.layers if row["layer"] == layer]))
        return total(found)

    def balance(self, of: Callable[[list[float]], float]) -> float | None:
        """Average a figure of the lanes' loads over layers; only channels that hold anything."""
        found: list[float | None] = []
        for layer in sorted({row["layer"] for row in self.layers}):
            lanes = [row for row in self.channels if row["layer"] == layer]
            busy = {row["channel"] for row in lanes if row["tokens"] > 0}
            found.append(of([row["tokens"] for row in lanes if row["channel"] in busy]))
        return mean(found)


def gini(loads: Sequence[float]) -> float:
    """Return half the mean difference of two loads, over the mean load."""
    differences = [abs(one - two) for one in loads for two in loads]
    return sum(differences) / len(differences) / 2 / (sum(loads) / len(loads))


def busiest(loads: Sequence[float]) -> float:
    return max(loads) / (sum(loads) / len(loads))


def over(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def times(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else one * two


CHARGES = {
    "attention": ("latency_ns", ()),
    "scoring": ("latency_with_scoring_ns", ("scoring",)),
    "all": ("latency_with_overheads_ns", ("scoring", "clustering", "remap")),
}
"""Where the latency of a layer stands under each charge, and the work beside attention in it."""


def metrics(r: Results, charge: str) -> Mapping[str, float | None]:
    """Return every metric by its public name; `charge` says what latency and energy contain."""

    def amount(name: str) -> float | None:
        return r.amount(lambda row: row[name])

    def fetched(row: Row) -> float | None:
        return times(row["overfetch_ratio"], row["selected_tokens"])

    column, beside = CHARGES[charge]
    latency = r.layer_amount(column)
    energy = total([amount("energy_pj"), *(amount(f"{name}_pj") for name in beside)])
    overheads = ("scoring", "clustering", "remap")
    parts_ns = ("score", "softmax", "context", "move", *overheads)
    parts_pj = (
        *("activation", "cell", "movement", "mac", "softmax", "background", "refresh"),
        *overheads,
    )
    return {
        "latency": latency,
        "energy": energy,
        "energy_delay": times(energy, latency),
        "attention_mass": r.ratio("attention_mass_ratio"),
        "topk_overlap": r.ratio("topk_overlap_ratio"),
        "output_error": r.ratio("output_error_ratio"),
        "over_fetch": over(r.amount(fetched), amount("selected_tokens")),
        "fetched_tokens": r.amount(fetched),
        "selected_tokens": amount("selected_tokens"),
        "row_activations": amount("activations"),
        "lane_utilisation": r.ratio("lane_utilisation_ratio"),
        "balance_channels": over(
            r.layer_amount("busiest_channel_ns"), r.layer_amount("mean_channel_ns")
        ),
        "balance_lanes": r.balance(busiest),
        "balance_gini": r.balance(gini),
        "overhead_latency": total(amount(f"{name}_ns") for name in overheads),
        "overhead_energy": total(amount(f"{name}_pj") for name in overheads),
        "head_latency": total([amount("latency_ns"), *(amount(f"{name}_ns") for name in beside)]),
        **{f"latency_{part}": amount(f"{part}_ns") for part in parts_ns},
        **{f"energy_{part}": amount(f"{part}_pj") for part in parts_pj},
    }
