"""The reproduction's tables as HTML: numbers, claims, overheads, statistics."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from analysis.report.web import Cell, Head, WebTable, text_table
from analysis.starc import end_to_end
from analysis.starc.claims import Finding, Range, verdict
from analysis.starc.shapes import TITLES

Column = tuple[str, str, float, str]
"""Name in the frame, heading with unit, factor, format."""
UNKNOWN = "\u2013"

NUMBERS: tuple[Column, ...] = (
    ("effective_tokens", "Tokens fetched", 1, ",.0f"),
    ("cycles", "Cycles", 1, ",.0f"),
    ("latency_ns", "Latency (µs)", 1e-3, ",.3f"),
    ("latency_vs_full_ratio", "Latency / full", 1, ".3f"),
    ("latency_vs_sparq_ratio", "Latency / SparQ", 1, ".3f"),
    ("artefact_energy_pj", "Energy, artefact's accounting (µJ)", 1e-6, ",.2f"),
    ("artefact_energy_vs_full_ratio", "the same / full", 1, ".3f"),
    ("artefact_energy_vs_sparq_ratio", "the same / SparQ", 1, ".3f"),
    ("energy_pj", "Energy, counted events (µJ)", 1e-6, ",.2f"),
    ("energy_vs_full_ratio", "the same / full", 1, ".3f"),
    ("energy_vs_sparq_ratio", "the same / SparQ", 1, ".3f"),
    ("mean_cycles", "Cycles, mean of the decode", 1, ",.1f"),
    ("mean_latency_ns", "Latency, mean of the decode (µs)", 1e-3, ",.3f"),
    ("mean_latency_vs_full_ratio", "the same / full", 1, ".3f"),
    ("mean_latency_vs_sparq_ratio", "the same / SparQ", 1, ".3f"),
    ("mean_artefact_energy_pj", "Energy, artefact's, mean of the decode (µJ)", 1e-6, ",.2f"),
    ("mean_artefact_energy_vs_full_ratio", "the same / full", 1, ".3f"),
    ("mean_artefact_energy_vs_sparq_ratio", "the same / SparQ", 1, ".3f"),
    ("mean_energy_pj", "Energy, counted, mean of the decode (µJ)", 1e-6, ",.2f"),
    ("mean_energy_vs_full_ratio", "the same / full", 1, ".3f"),
    ("mean_energy_vs_sparq_ratio", "the same / SparQ", 1, ".3f"),
    ("scoring_ns", "Scoring, not included (µs)", 1e-3, ",.3f"),
    ("artefact_clustering_ns_per_step", "Clustering a step, not included (µs)", 1e-3, ",.3f"),
)
OVERHEADS: tuple[Column, ...] = (
    ("latency_ns", "Attention (µs)", 1e-3, ",.3f"),
    ("scoring_ns", "Scoring (µs)", 1e-3, ",.3f"),
    ("scoring_pj", "Scoring (µJ)", 1e-6, ",.3f"),
    ("artefact_clustering_cycles", "Artefact's clustering at the last step (cycles)", 1, ",.0f"),
    ("artefact_clustering_ns_per_step", "the same over all steps (µs)", 1e-3, ",.4f"),
    ("artefact_clustering_pj_per_step", "the same over all steps (µJ)", 1e-6, ",.4f"),
    ("windowed_clustering_ns_per_step", "64-token windows on the host (µs)", 1e-3, ",.4f"),
    ("windowed_clustering_pj_per_step", "the same (µJ)", 1e-6, ",.4f"),
    ("remap_ns_per_step", "Moving K and V (µs)", 1e-3, ",.4f"),
    ("remap_pj_per_step", "the same (µJ)", 1e-6, ",.4f"),
)
PLACEMENTS: tuple[Column, ...] = (
    ("block_rows", "Block rows", 1, ",.0f"),
    ("packed_cycles", "Cycles, packed", 1, ",.0f"),
    ("spread_cycles", "Cycles, spread", 1, ",.0f"),
    ("spread_cycles_ratio", "Spread / packed", 1, ".2f"),
    ("packed_row_activations", "Row activations of a KV head, packed", 1, ",.0f"),
    ("spread_row_activations", "the same, spread", 1, ",.0f"),
    ("spread_energy_ratio", "Energy, spread / packed", 1, ".2f"),
)
STATISTICS: tuple[Column, ...] = (
    ("steps", "Steps", 1, ",.0f"),
    ("mean_tokens", "Mean tokens", 1, ",.1f"),
    ("min_tokens", "Least", 1, ",.0f"),
    ("max_tokens", "Greatest", 1, ",.0f"),
    ("overfetch_ratio", "Over-fetch (tokens / 1,024)", 1, ".2f"),
    ("mean_effective_tokens", "Mean, whole block rows", 1, ",.1f"),
    ("distinct_block_rows", "Distinct numbers of block rows", 1, ",.0f"),
    ("period_steps", "Repeats exactly every (steps)", 1, ",.0f"),
    ("steps_cut_to_context", "Steps with more than the context, cut to it", 1, ",.0f"),
)


def numbers_table(rows: pl.DataFrame) -> WebTable:
    """Return the main table; its headings are buttons that sort."""
    return _table(
        rows,
        ("model", "method", "context_tokens"),
        NUMBERS,
        "One attention layer of one decode step, and the mean of the decode that ends there",
        "overview",
    )


def overheads_table(rows: pl.DataFrame) -> WebTable:
    """Return the overheads of the sparse methods."""
    sparse = rows.filter(pl.col("method") != "full", pl.col("cycles").is_not_null())
    return _table(
        sparse,
        ("model", "method", "context_tokens"),
        OVERHEADS,
        "Work beside reading the selected keys and values, a layer and step",
    )


def placements_table(rows: pl.DataFrame) -> WebTable:
    """Return the two bounds of where block rows lie."""
    return _table(
        rows,
        ("model", "method", "context_tokens"),
        PLACEMENTS,
        "The same block rows side by side, as in the artefact, and spread evenly over the context",
    )


def statistics_table(rows: pl.DataFrame) -> WebTable:
    """Return the statistics of the tables."""
    return _table(
        rows, ("model", "method"), STATISTICS, "Tokens fetched a step, over the steps of each table"
    )


def claims_table(findings: Sequence[Finding]) -> WebTable:
    """Return every published claim beside what the tables give."""
    heads = (
        "Version",
        "Reduction by STARC of",
        "below",
        "Published",
        "Here, single steps at 4k to 32k",
        "Here, decodes that end at 4k to 32k",
        "Here, the whole decode at most",
        "Here, one step at most",
        "Memory energy alone, decodes",
        "Counted events, decodes",
        "Context at which steps here reach it",
        "Verdict",
    )
    body = []
    for found in findings:
        claim = found.claim
        cells = (
            f"attention {claim.quantity}",
            "full attention" if claim.versus == "full" else "token-wise selection (SparQ)",
            claim.text,
            _range(found.steps),
            _range(found.decode),
            _percent(found.most),
            _percent(found.most_step),
            _range(found.memory),
            _range(found.counted),
            _crossed(found),
            verdict(found),
        )
        body.append((claim.version, *cells))
    caption = (
        "Reductions at a budget of 1,024. Ranges are over models and contexts; energy is the"
        " artefact's accounting unless said otherwise"
    )
    claims = text_table(caption, heads, body, "claims")
    return replace(claims, wrapped=False)


def end_to_end_claims_table(found: Sequence[end_to_end.Finding]) -> WebTable:
    """Return every end-to-end claim beside what comes out."""
    names = {"full": "full attention", "sparq": "token-wise selection (SparQ)"}
    body = [
        (
            f"{one.claim.quantity} of a decode step",
            names[one.claim.versus],
            f"{100 * one.claim.low_ratio:.0f}-{100 * one.claim.high_ratio:.0f} %",
            _range(one.computed),
            _range(one.eighths),
        )
        for one in found
    ]
    return text_table(
        "Reductions by STARC of the whole step, over the models with tables, 16,000 to 32,000"
        " tokens out",
        (
            "Reduction by STARC of",
            "below",
            "Published",
            "Here, as the public program computes",
            "Here, with the eighths of the README's line",
        ),
        body,
        "end-to-end",
    )


def end_to_end_table(steps: Sequence[end_to_end.Step]) -> WebTable:
    """Return the steps of whole systems."""
    body = [
        (
            one.shape.title,
            TITLES[one.method],
            f"{one.output_tokens:,}",
            f"{one.attention_ms:.3f}",
            f"{one.time_ms:.3f}",
            f"{one.eighths_ms:.3f}",
            f"{one.energy_mj:,.1f}",
        )
        for one in steps
    ]
    return text_table(
        "A decode step of 8 H100 and 40 stacks, the mean of a decode",
        (
            "Model",
            "Method",
            "Tokens out",
            "Attention (ms)",
            "Step (ms)",
            "Step with eighths (ms)",
            "Energy of a step (mJ)",
        ),
        body,
        "end-to-end-steps",
    )


def _percent(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100 * ratio:.1f} %"


def _range(found: Range | None) -> str:
    if found is None:
        return UNKNOWN
    return f"{100 * found.low_ratio:.1f}-{100 * found.high_ratio:.1f} %"


def _crossed(found: Finding) -> str:
    low, high = found.crossed_tokens
    if found.steps is None:
        return UNKNOWN
    upper = "never" if high is None else f"{high:,} tokens"
    if found.claim.low_ratio is None:
        return upper
    return f"{'never' if low is None else f'{low:,}'} to {upper}"


def _table(
    rows: pl.DataFrame,
    names: Sequence[str],
    columns: Sequence[Column],
    caption: str,
    identity: str = "",
) -> WebTable:
    shown = [one for one in columns if one[0] in rows.columns and not rows[one[0]].is_null().all()]
    titles = {"model": "Model", "method": "Method", "context_tokens": "Context (tokens)"}
    heads = [Head(titles[name], name == "context_tokens") for name in names]
    heads += [Head(one[1], True) for one in shown]
    cells = [_row(row, names, shown) for row in rows.iter_rows(named=True)]
    return WebTable(caption, heads, cells, identity, sorts=bool(identity))


def _row(row: dict[str, Any], names: Sequence[str], columns: Sequence[Column]) -> list[Cell]:
    cells = []
    for name in names:
        value = row[name]
        if name == "context_tokens":
            cells.append(Cell(f"{value:,}", number=True, value=value))
        else:
            cells.append(Cell(TITLES[value] if name == "method" else str(value)))
    for name, _, factor, form in columns:
        value = row[name]
        text = UNKNOWN if value is None else format(float(value) * factor, form)
        cells.append(Cell(text, number=True, value=value))
    return cells
