"""The one output that the artefact publishes, and the same from the tables.

The README of EPIC-RPI/STARC @ 30d4ce9 shows a line of `output.csv` for Mistral-7B, prompt 2,048,
output 16,000, batch 16, without naming the method. It is STARC's, the clustering of the last step
included.
"""

from dataclasses import dataclass

import numpy as np

from analysis.starc.accounting import artefact_energy
from analysis.starc.cost import LayerSimulator
from analysis.starc.study import Series, Study, as_steps, minus
from pimreplay.hardware.device import Hardware

MODEL, METHOD = "mistral", "starc"
OUTPUT_TOKENS, BATCH, PROMPT_TOKENS = 16_000, 16, 2048
HARDWARE = "attacc_hbm3_bank"


@dataclass(frozen=True, slots=True)
class Sample:
    """Attention of all layers for one generated token, the mean of a decode."""

    matmul_ms: float
    memory_nj: float
    compute_nj: float


PUBLISHED = Sample(matmul_ms=0.075737878, memory_nj=61361497.02, compute_nj=6874799.8)
"""`g_matmul`, `g_attn_mem_energy` and `g_attn_comp_energy` of that line."""


def sample_from(study: Study, simulator: LayerSimulator) -> Sample | None:
    """Return the sample from a study's tables; None when they do not allow it."""
    samples = (sample_of(study.hardware, simulator, series) for series in study.series)
    return next((one for one in samples if one is not None), None)


def sample_of(hardware: Hardware, simulator: LayerSimulator, series: Series) -> Sample | None:
    """Return what the artefact prints for a decode of `OUTPUT_TOKENS`; None if out of reach.

    Known for STARC on Mistral with the artefact's own prompt, batch and device, and a table that
    is long enough: a decode of n tokens has n - 1 steps there.
    """
    system, shape, steps = simulator.system, series.shape, OUTPUT_TOKENS - 1
    same = (
        (shape.name, series.method) == (MODEL, METHOD)
        and (system.batch, system.prompt_tokens, hardware.name) == (BATCH, PROMPT_TOKENS, HARDWARE)
        and len(series.context) >= steps
    )
    if not same:
        return None
    last = steps - 1
    tokens, rows = int(series.context[last]), int(series.costs.block_rows[last])
    extra = minus(
        simulator.layer(shape, tokens, rows, cluster=True), simulator.layer(shape, tokens, rows)
    )
    unscored = np.zeros(1, dtype=np.int64)
    clustering = artefact_energy(hardware, system, shape, unscored, as_steps(rows, extra))
    cycles = int(series.costs.cycles[:steps].sum()) + extra.cycles
    memory_pj = float(series.artefact.memory_pj[:steps].sum()) + float(clustering.memory_pj[0])
    compute_pj = float(series.artefact.compute_pj[:steps].sum())
    return Sample(
        matmul_ms=cycles * hardware.t_ck_ns / steps * shape.layers / 1e6,
        memory_nj=memory_pj / steps * shape.layers / 1e3,
        compute_nj=compute_pj / steps * shape.layers / 1e3,
    )
