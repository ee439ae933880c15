"""The study as tables of data, units in the column names: every step, the contexts, the tables."""

import numpy as np
import polars as pl

from analysis.starc.cost import ROW_TOKENS
from analysis.starc.study import BUDGET_TOKENS, CONTEXTS, Series, Study, quantities


def steps_frame(study: Study) -> pl.DataFrame:
    """Return every step of every series, units in the names; for CSV."""
    return pl.concat([series_frame(series) for series in study.series])


def series_frame(series: Series) -> pl.DataFrame:
    """Return one series as a table, a row a step."""
    count = len(series.context)
    return pl.DataFrame(
        {
            "model": [series.shape.name] * count,
            "method": [series.method] * count,
            "step": np.arange(count),
            "context_tokens": series.context,
            "table_tokens": series.tokens if series.tokens is not None else [None] * count,
            "block_rows": series.costs.block_rows,
            "cycles": series.costs.cycles,
            "latency_ns": series.latency_ns,
            "artefact_memory_pj": series.artefact.memory_pj,
            "artefact_compute_pj": series.artefact.compute_pj,
            "energy_pj": series.counted_pj if series.counted_pj is not None else [None] * count,
            "scoring_ns": series.scoring_ns,
            "scoring_pj": series.scoring_pj if series.scoring_pj is not None else [None] * count,
        },
        schema_overrides={
            "table_tokens": pl.Float64,
            "energy_pj": pl.Float64,
            "scoring_pj": pl.Float64,
        },
    )


def context_rows(study: Study) -> pl.DataFrame:
    """Return one row a model, method and context: the step that reads it, and the decode up to it.

    A context beyond a table gives a row of nulls.
    """
    rows = []
    for series in study.series:
        full, sparq = study.of(series.shape, "full"), study.of(series.shape, "sparq")
        for tokens in CONTEXTS:
            step = series.step_at(tokens)
            row: dict[str, object] = {
                "model": series.shape.title,
                "method": series.method,
                "context_tokens": tokens,
            }
            if step is not None:
                row |= _context_row(series, step, full, sparq)
                row |= _overheads(study, series, tokens, step)
            rows.append(row)
    return pl.DataFrame(rows, schema=_COLUMNS)


_COLUMNS: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "method": pl.String,
    "context_tokens": pl.Int64,
    "step": pl.Int64,
    "effective_tokens": pl.Int64,
    "cycles": pl.Int64,
    "latency_ns": pl.Float64,
    "latency_vs_full_ratio": pl.Float64,
    "latency_vs_sparq_ratio": pl.Float64,
    "mean_cycles": pl.Float64,
    "mean_latency_ns": pl.Float64,
    "mean_latency_vs_full_ratio": pl.Float64,
    "mean_latency_vs_sparq_ratio": pl.Float64,
    "artefact_energy_pj": pl.Float64,
    "artefact_energy_vs_full_ratio": pl.Float64,
    "artefact_energy_vs_sparq_ratio": pl.Float64,
    "mean_artefact_energy_pj": pl.Float64,
    "mean_artefact_energy_vs_full_ratio": pl.Float64,
    "mean_artefact_energy_vs_sparq_ratio": pl.Float64,
    "artefact_memory_pj": pl.Float64,
    "artefact_memory_vs_full_ratio": pl.Float64,
    "artefact_memory_vs_sparq_ratio": pl.Float64,
    "mean_artefact_memory_pj": pl.Float64,
    "mean_artefact_memory_vs_full_ratio": pl.Float64,
    "mean_artefact_memory_vs_sparq_ratio": pl.Float64,
    "energy_pj": pl.Float64,
    "energy_vs_full_ratio": pl.Float64,
    "energy_vs_sparq_ratio": pl.Float64,
    "mean_energy_pj": pl.Float64,
    "mean_energy_vs_full_ratio": pl.Float64,
    "mean_energy_vs_sparq_ratio": pl.Float64,
    "scoring_ns": pl.Float64,
    "scoring_pj": pl.Float64,
    "artefact_clustering_cycles": pl.Int64,
    "artefact_clustering_ns_per_step": pl.Float64,
    "artefact_clustering_pj_per_step": pl.Float64,
    "windowed_clustering_ns_per_step": pl.Float64,
    "windowed_clustering_pj_per_step": pl.Float64,
    "remap_ns_per_step": pl.Float64,
    "remap_pj_per_step": pl.Float64,
}


def _context_row(
    series: Series, step: int, full: Series | None, sparq: Series | None
) -> dict[str, object]:
    row: dict[str, object] = {
        "step": step,
        "effective_tokens": ROW_TOKENS * int(series.costs.block_rows[step]),
        "cycles": int(series.costs.cycles[step]),
        "mean_cycles": float(series.costs.cycles[: step + 1].mean()),
        "scoring_ns": float(series.scoring_ns[step]),
        "scoring_pj": None if series.scoring_pj is None else float(series.scoring_pj[step]),
    }
    for name, unit, values in quantities(series):
        row[f"{name}{unit}"] = float(values[step])
        row[f"mean_{name}{unit}"] = float(values[: step + 1].mean())
        for other in (full, sparq):
            if other is None or other is series or series.method == "full":
                continue
            if step >= len(other.context):
                continue
            base = next(found for what, _, found in quantities(other) if what == name)
            versus = f"{name}_vs_{other.method}_ratio"
            row[versus] = float(values[step] / base[step])
            row[f"mean_{versus}"] = float(values[: step + 1].sum() / base[: step + 1].sum())
    return row


def _overheads(study: Study, series: Series, tokens: int, step: int) -> dict[str, object]:
    if series.method != "starc":
        return {}
    for one in study.clustering:
        if one.shape == series.shape and one.context_tokens == tokens:
            return {
                "artefact_clustering_cycles": one.artefact_cycles,
                "artefact_clustering_ns_per_step": one.artefact_ns_per_step,
                "artefact_clustering_pj_per_step": one.artefact_pj_per_step,
                "windowed_clustering_ns_per_step": one.windowed_ns_per_step,
                "windowed_clustering_pj_per_step": one.windowed_pj_per_step,
                "remap_ns_per_step": one.remap_ns_per_step,
                "remap_pj_per_step": one.remap_pj_per_step,
            }
    return {}


def statistics(study: Study) -> pl.DataFrame:
    """Return what each table holds: steps, tokens, over-fetch, and how often it was cut."""
    rows = []
    periods = {(one.shape, one.method): one.period_steps() for one in study.tables}
    for series in study.series:
        if series.tokens is None:
            continue
        effective = series.costs.block_rows * ROW_TOKENS
        rows.append(
            {
                "model": series.shape.title,
                "method": series.method,
                "steps": len(series.tokens),
                "mean_tokens": float(series.tokens.mean()),
                "min_tokens": float(series.tokens.min()),
                "max_tokens": float(series.tokens.max()),
                "mean_effective_tokens": float(effective.mean()),
                "overfetch_ratio": float(series.tokens.mean() / BUDGET_TOKENS),
                "distinct_block_rows": len(np.unique(series.costs.block_rows)),
                "period_steps": periods[series.shape, series.method],
                "steps_cut_to_context": int((series.tokens > series.context).sum()),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"period_steps": pl.Int64})
