"""What the reproduction says in words; every number in a sentence comes from the study."""

from collections.abc import Iterator, Sequence

import polars as pl

from analysis.starc.claims import Finding, Range, verdict
from analysis.starc.cost import ROW_TOKENS
from analysis.starc.placement import Placement
from analysis.starc.study import Study


def summary(study: Study, rows: pl.DataFrame, found: Sequence[Finding]) -> list[str]:
    """Return the result in a few sentences."""
    sentences = []
    reached = rows.filter(pl.col("cycles").is_not_null())["context_tokens"].to_list()
    longest = max(reached, default=0)
    for (model,), own in rows.filter(pl.col("context_tokens") == longest).group_by(
        "model", maintain_order=True
    ):
        cycles = {str(row["method"]): row for row in own.iter_rows(named=True)}
        full, starc = cycles.get("full"), cycles.get("starc")
        if full is None or starc is None or starc["cycles"] is None:
            continue
        sentence = (
            f"{model} at {longest:,} tokens: full attention takes {full['latency_ns'] / 1000:.2f}"
            f" µs a layer, STARC {starc['latency_ns'] / 1000:.2f} µs"
            f" ({_less(starc['latency_vs_full_ratio'])} less)"
        )
        for name, title in (("quest", "Quest"), ("sparq", "SparQ")):
            if name in cycles and cycles[name]["cycles"] is not None:
                sentence += f", {title} {cycles[name]['latency_ns'] / 1000:.2f} µs"
        sentences.append(
            sentence
            + f"; the decode up to there takes {_less(starc['mean_latency_vs_full_ratio'])}"
            " less time than full attention."
        )
    for one in found:
        sentences.append(
            f"{one.claim.version}: {one.claim.quantity} {one.claim.text} below"
            f" {'full attention' if one.claim.versus == 'full' else 'token-wise selection'}."
            f" Here: {verdict(one)}"
            + (
                ""
                if one.decode is None
                else f" ({_percent(one.decode)} for decodes that end at 4k to 32k)"
            )
            + "."
        )
    missing = study.shapes_without_tables()
    if missing:
        sentences.append(
            f"{', '.join(shape.title for shape in missing)}: no tables were given, so only full"
            " attention is reported."
        )
    return sentences


def differences(
    study: Study, found: Sequence[Finding], lying: Sequence[Placement] = ()
) -> Iterator[tuple[str, str]]:
    """Yield a lead and the reasons, for each way in which the numbers and the claims differ.

    Args:
        study: What was computed.
        found: The claims beside it.
        lying: The block rows at the report's contexts, packed and spread.
    """
    by_claim = {(one.claim.version[:2], one.claim.quantity, one.claim.versus): one for one in found}
    v1_full = by_claim["v1", "latency", "full"]
    if v1_full.steps is not None:
        low, high = v1_full.crossed_tokens
        yield (
            "Against full attention, v1's range is a range of contexts.",
            "Full attention reads every block row, STARC a number that does not grow with the"
            " context, so the reduction grows with it."
            + _reach(low, high)
            + " Longer contexts give more, which is how the ASPLOS version comes to 93 %: its"
            " cost model decodes 16,000 to 32,000 tokens after a prompt of 2,048.",
        )
    asplos_full = by_claim["AS", "latency", "full"]
    asplos_energy = by_claim["AS", "energy", "full"]
    if asplos_full.most is not None and asplos_energy.most is not None:
        memory = asplos_energy.memory_most
        yield (
            "The ASPLOS version's claims against full attention.",
            f"The whole decode gives {100 * asplos_full.most:.1f} % in latency (claimed: up to"
            f" 93 %) and {100 * asplos_energy.most:.1f} % in energy (claimed: up to 92 %) with the"
            " artefact's own accounting. It charges multiply-adds on the whole context under every"
            " method, which holds the reduction back"
            + ("." if memory is None else f"; its memory energy alone gives {100 * memory:.1f} %.")
            + f" Single steps go up to {100 * (asplos_full.most_step or 0):.1f} % and"
            f" {100 * (asplos_energy.most_step or 0):.1f} %.",
        )
    v1_token, asplos_token = (by_claim[v, "latency", "token-wise"] for v in ("v1", "AS"))
    if v1_token.decode is not None and asplos_token.most is not None:
        yield (
            "Against token-wise selection, the two versions do not describe the same experiment.",
            f"The tables give {_percent(v1_token.decode)}; v1 claims 19-31 %, the ASPLOS version up"
            " to 78 %. v1 came with no tables and, as far as its public"
            " descriptions say, with larger clusters (32 tokens on average) and 8 vectors a row"
            " fetch, where the tables have 16 and 16: a token-wise method wastes more of a wider"
            " fetch. The 78 % is an `up to` over methods and models: the artefact has tables of"
            " one token-wise method, SparQ, and none of InfiniGen. Over a decode they give at most"
            f" {100 * asplos_token.most:.1f} %; single steps reach"
            f" {100 * (asplos_token.most_step or 0):.1f} %." + _saturated(study),
        )
    energy = by_claim["AS", "energy", "token-wise"]
    if energy.decode is not None and energy.counted is not None:
        yield (
            "Energy depends on the accounting.",
            f"Against SparQ (claimed: up to 65 %) the artefact's accounting gives"
            f" {_percent(energy.decode)}, its memory energy alone up to"
            f" {100 * (energy.memory_most or 0):.1f} % over the whole decode, counted events"
            f" {_percent(energy.counted)}. The artefact multiplies the data path's pJ/bit by"
            " bytes (an eighth of the energy), counts the multiply-adds of scores only, folds"
            " activations into each bit read, and leaves standby and refresh out; counted events"
            " charge each activation, both products, and power over time.",
        )
    periods = [period for one in study.tables if (period := one.period_steps()) is not None]
    if periods:
        yield (
            "The tables are shorter than they look.",
            f"{len(periods)} of the {len(study.tables)} tables repeat the same"
            f" {_span(periods)} numbers to their end: they hold the selections of so many decode"
            " steps, not of a context that grows to 34k tokens. Whether scattered selections"
            " touch more block rows in a longer context cannot be read from them, nor from claims"
            " that rest on them.",
        )
    spread = _spread(lying)
    if spread:
        yield "Where the block rows lie can outweigh how many there are.", spread
    yield (
        "What neither the claims nor these numbers contain.",
        "Finding the tokens (centroids, pages, components), windows clustered during decode, the"
        " rows in which block rows really lie, the union of a group's selections under grouped"
        " query attention. The first two are given as overheads; they do not stay small"
        + _scoring(study)
        + ".",
    )


def _spread(lying: Sequence[Placement]) -> str:
    """Compare STARC with SparQ under both bounds, on the longest context that has both."""
    by_place = {(one.shape, one.context_tokens, one.method): one for one in lying}
    both = [
        (one, by_place[shape, tokens, "sparq"])
        for (shape, tokens, method), one in by_place.items()
        if method == "starc" and (shape, tokens, "sparq") in by_place
    ]
    if not both:
        return ""
    starc, sparq = max(both, key=lambda pair: pair[0].context_tokens)
    packed = 1 - starc.packed_cycles / sparq.packed_cycles
    spread = 1 - starc.spread_cycles / sparq.spread_cycles
    return (
        f"{starc.shape.title} at {starc.context_tokens:,} tokens: packed, STARC's"
        f" {starc.block_rows} block rows take {starc.packed_cycles:,} cycles and SparQ's"
        f" {sparq.block_rows} {sparq.packed_cycles:,} ({100 * packed:.0f} % less). Spread evenly"
        f" over the context they take {starc.spread_cycles:,} and {sparq.spread_cycles:,}"
        f" ({100 * spread:.0f} % less), because opening rows then costs more than reading them."
        " Neither the tables nor the artefact's cost model say where between these a method is."
    )


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _saturated(study: Study) -> str:
    """Say for how long SparQ reads the whole context, as the tables have it."""
    counts = [
        int((series.costs.block_rows * ROW_TOKENS >= series.context).sum())
        for series in study.series
        if series.method == "sparq"
    ]
    if not counts or not max(counts):
        return ""
    return (
        f" In {_span(counts)} of the first steps SparQ touches every block row of the context and"
        " saves nothing, so short decodes show less."
    )


def _scoring(study: Study) -> str:
    last = {
        series.label: float(series.scoring_ns[-1] / series.latency_ns[-1])
        for series in study.series
        if series.tokens is not None
    }
    if not last:
        return ""
    shares = ", ".join(f"{label} {share:.2f} times" for label, share in last.items())
    return f" (last step, scoring over attention: {shares})"


def _reach(low: int | None, high: int | None) -> str:
    if low is None:
        return " Steps of these tables do not reach it."
    if high is None:
        return f" Steps of these tables reach its low end at {low:,} tokens and never its high end."
    return (
        f" Steps of these tables pass from its low to its high end at {low:,} to {high:,} tokens."
    )


def _less(ratio: float) -> str:
    return f"{100 * (1 - ratio):.1f} %"


def _percent(found: Range) -> str:
    return f"{100 * found.low_ratio:.1f}-{100 * found.high_ratio:.1f} %"
