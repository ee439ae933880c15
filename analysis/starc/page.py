"""The reproduction as one self-contained HTML file, in the look of `analysis report`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.report.web import WebTable, drawn, embedded, page, plotly_script, text_table
from analysis.starc import end_to_end
from analysis.starc.claims import findings
from analysis.starc.figures import placed
from analysis.starc.frames import context_rows, statistics
from analysis.starc.lookup import lookup_form, steps_data
from analysis.starc.placement import placement_rows, placements
from analysis.starc.sample import PUBLISHED, Sample
from analysis.starc.shapes import SHAPES, TITLES
from analysis.starc.study import CONTEXTS, SPARQ_RANK, Study
from analysis.starc.tables import (
    claims_table,
    end_to_end_claims_table,
    end_to_end_table,
    numbers_table,
    overheads_table,
    placements_table,
    statistics_table,
)
from analysis.starc.words import differences, summary


def study_html(study: Study, folder: Path, sample: Sample | None = None) -> str:
    """Return the report as one HTML text that needs nothing outside itself.

    Args:
        study: What was computed.
        folder: Where the tables came from.
        sample: What the artefact's README shows, recomputed; None: out of these tables' reach.
    """
    rows, held, found = context_rows(study), statistics(study), findings(study)
    whole = end_to_end.steps_of(study)
    drawings, lying, steps = placed(study), placements(study), steps_data(study)
    return page(
        "starc.html",
        title="STARC's tables, replayed beside its published claims",
        plotly=plotly_script(),
        subtitle=f"Tables of {folder.name or folder}; {study.hardware.title}; batch"
        f" {study.system.batch}, {study.system.stacks} stacks, prompt of"
        f" {study.system.prompt_tokens:,} tokens.",
        summary=summary(study, rows, found),
        sample=None if sample is None else _sample(sample),
        claims=claims_table(found),
        end_to_end=end_to_end_claims_table(end_to_end.findings(whole)) if whole else None,
        end_to_end_steps=end_to_end_table(whole) if whole else None,
        end_to_end_notes=_end_to_end_notes(whole),
        differences=differences(study, found, lying),
        table=numbers_table(rows),
        table_note=_table_note(study),
        lookup=lookup_form(study) if steps else None,
        steps=embedded(steps) if steps else None,
        overheads=overheads_table(rows),
        overhead_notes=_overhead_notes(),
        placements=placements_table(placement_rows(lying)),
        placement_notes=_placement_notes(),
        statistics=statistics_table(held),
        figures=[one.place for one in drawings],
        configuration=_configuration(study),
        assumptions=list(_assumptions(study)),
        data=drawn(drawings, rows.write_csv()),
    )


def _sample(sample: Sample) -> WebTable:
    return text_table(
        "Mean of a decode of 16,000 tokens",
        ("Quantity", "Published", "Here"),
        [
            (
                "Attention time, g_matmul (ms a token)",
                f"{PUBLISHED.matmul_ms:.9f}",
                f"{sample.matmul_ms:.9f}",
            ),
            (
                "Memory energy, g_attn_mem_energy (nJ a token)",
                f"{PUBLISHED.memory_nj:,.2f}",
                f"{sample.memory_nj:,.2f}",
            ),
            (
                "Compute energy, g_attn_comp_energy (nJ a token)",
                f"{PUBLISHED.compute_nj:,.2f}",
                f"{sample.compute_nj:,.2f}",
            ),
        ],
        "sample",
    )


def _end_to_end_notes(steps: Sequence[end_to_end.Step]) -> list[str]:
    notes = [
        "A whole step is AttAcc's program with the attention of the tables: 8 H100, 40 stacks at"
        " bank level under their power limit, both overlaps on, energies as that program counts"
        " them."
    ]
    line = [
        one
        for one in steps
        if (one.shape.name, one.method, one.output_tokens) == ("mistral", "starc", 16_000)
    ]
    notes += [
        f"The README's line, {end_to_end.SAMPLE_MS} ms and {end_to_end.SAMPLE_MJ} mJ a step, comes"
        f" out as {one.eighths_ms:.3f} ms and {one.energy_mj:.1f} mJ when all-reduces, activations"
        f" and normalisations take an eighth of what the public program computes, and as"
        f" {one.time_ms:.3f} ms when they do not."
        for one in line
    ]
    return notes


def _table_note(study: Study) -> str:
    missing = [shape.title for shape in study.shapes_without_tables()]
    full_only = (
        f" No tables of {', '.join(missing)} were given: only full attention is reported there."
        if missing
        else ""
    )
    return (
        "Cycles are those of one layer on the fullest stack; energy is that of one layer over all"
        f" {study.system.stacks} stacks. A context of N tokens is decode step"
        f" N - {study.system.prompt_tokens + 1} (counted from 0). The mean of the decode is over"
        " all steps from the first to that one: what the artefact's program prints. A dash: the"
        " table does not reach that context, or there is nothing to compare with." + full_only
    )


def _overhead_notes() -> list[str]:
    return [
        "None of these is in the numbers above. Scoring is what a method reads and multiplies to"
        " find its tokens; the artefact charges nothing for it. Here it runs in the memory like"
        " dense keys: STARC four centroids for each window of 64 tokens, Quest two vectors for"
        f" each page of 16, SparQ {SPARQ_RANK} components of every key (rank {SPARQ_RANK} is"
        " assumed), kept in a layout that allows reading them alone.",
        "The artefact's clustering is one global k-means with a rewrite of every key and value,"
        " added to the last step of a decode. The method as described clusters 64 new tokens at a"
        " time: those windows are given on the host, shared over the 64 steps between them.",
    ]


def _placement_notes() -> list[str]:
    return [
        "The tables count block rows and do not say which. Packed is what the artefact's generator"
        " makes of them. Spread evenly over the context is the other bound: nearly every DRAM row"
        " of the context is opened for a few block rows. What a method really does lies between;"
        " `pimreplay run` on a captured trace tells.",
    ]


def _configuration(study: Study) -> dict[str, str]:
    system = study.system
    return {
        "Tables": ", ".join(one.path.name for one in study.tables),
        "Device": f"{study.hardware.name}: {study.hardware.title}",
        "Clock": f"{study.hardware.t_ck_ns} ns a cycle",
        "System": f"{system.devices} devices of {system.stacks_per_device} stacks, heads split"
        " over the devices",
        "Batch": str(system.batch),
        "Prompt": f"{system.prompt_tokens:,} tokens",
        "Models": "; ".join(
            f"{shape.title}: {shape.layers} layers, {shape.q_heads} query heads of"
            f" {shape.head_dim}, {system.heads_per_stack(shape)} heads a stack"
            for shape in SHAPES
        ),
        "Methods": ", ".join(TITLES.values()),
        "Contexts": ", ".join(f"{tokens:,}" for tokens in CONTEXTS),
        "Simulated": f"{study.simulated_points:,} distinct points, cycle-accurate, refresh on;"
        " every step of every table is one of them",
    }


def _assumptions(study: Study) -> Iterator[str]:
    for shape in SHAPES:
        yield f"{shape.title}: {shape.note}."
    yield (
        "Every query head reads its own keys and values, as in the artefact: grouped query"
        " attention would share them, and a key-value head's banks would read the union of its"
        " group's block rows."
    )
    yield (
        "The block rows of a step lie side by side in as few DRAM rows as possible, as the"
        " artefact's trace generator has it; the other bound has a section of its own."
    )
    yield (
        "Tables of SparQ hold more tokens than the context in the first steps; reads are cut to"
        " the context, as in the artefact."
    )
    for assumed in study.hardware.assumed:
        yield f"Hardware {study.hardware.name}: {assumed}."
    if any(series.counted_pj is None for series in study.series):
        yield (
            f"Energy by counted events is not known: {study.hardware.name} leaves a coefficient"
            " out."
        )
