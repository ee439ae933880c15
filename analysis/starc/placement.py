"""What the tables leave open: in which DRAM rows the block rows of a step lie.

The artefact packs the block rows of a step side by side. They really lie where their tokens are.
Two bounds: packed as in the artefact, and spread evenly over the context, which opens the most
rows. Both are costed by the cycle-accurate scheduler on true addresses, for one head alone in its
channel, like the layer on a stack of at most 16 heads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.starc.cost import block_rows_of
from analysis.starc.shapes import Shape
from analysis.starc.study import CONTEXTS, Study
from pimreplay.cost.step_cost import StepCost, step_cost


@dataclass(frozen=True, slots=True)
class Placement:
    """One step's block rows, packed and spread."""

    shape: Shape
    method: str
    context_tokens: int
    block_rows: int
    packed_cycles: int
    spread_cycles: int
    packed_row_activations: int
    """Rows opened, in banks, by one head."""
    spread_row_activations: int
    packed_pj: float | None
    spread_pj: float | None


def placements(study: Study) -> list[Placement]:
    """Return both bounds for every table at the report's contexts."""
    return list(_placements(study))


def placement_rows(found: Sequence[Placement]) -> pl.DataFrame:
    """Return the placements as a table, units in the names."""
    return pl.DataFrame(
        [
            {
                "model": one.shape.title,
                "method": one.method,
                "context_tokens": one.context_tokens,
                "block_rows": one.block_rows,
                "packed_cycles": one.packed_cycles,
                "spread_cycles": one.spread_cycles,
                "spread_cycles_ratio": one.spread_cycles / one.packed_cycles,
                "packed_row_activations": one.packed_row_activations,
                "spread_row_activations": one.spread_row_activations,
                "spread_energy_ratio": None
                if one.packed_pj is None or one.spread_pj is None
                else one.spread_pj / one.packed_pj,
            }
            for one in found
        ],
        schema={
            "model": pl.String,
            "method": pl.String,
            "context_tokens": pl.Int64,
            "block_rows": pl.Int64,
            "packed_cycles": pl.Int64,
            "spread_cycles": pl.Int64,
            "spread_cycles_ratio": pl.Float64,
            "packed_row_activations": pl.Int64,
            "spread_row_activations": pl.Int64,
            "spread_energy_ratio": pl.Float64,
        },
    )


def spread_mask(blocks: int, touched: int) -> NDArray[np.bool_]:
    """Return `touched` of `blocks` blocks, as evenly spread as can be, (blocks,)."""
    mask = np.zeros(blocks, dtype=bool)
    mask[np.arange(touched) * blocks // touched] = True
    return mask


def _placements(study: Study) -> Iterator[Placement]:
    known: dict[tuple[int, int, int], tuple[StepCost, StepCost]] = {}
    for series in study.series:
        for tokens in CONTEXTS:
            step = series.step_at(tokens)
            if step is None or series.tokens is None:
                continue
            touched, blocks = int(series.costs.block_rows[step]), block_rows_of(tokens)
            key = (series.shape.head_dim, blocks, touched)
            if key not in known:
                packed = np.arange(blocks) < touched
                spread = spread_mask(blocks, touched)
                known[key] = (_cost(study, key[0], packed), _cost(study, key[0], spread))
            one, other = known[key]
            assert one.n_activations is not None
            assert other.n_activations is not None
            yield Placement(
                series.shape,
                series.method,
                tokens,
                touched,
                int(one.cycles[0]),
                int(other.cycles[0]),
                int(one.n_activations[0]),
                int(other.n_activations[0]),
                _energy(one),
                _energy(other),
            )


def _cost(study: Study, head_dim: int, blocks: NDArray[np.bool_]) -> StepCost:
    geometry = study.hardware.geometry(head_dim, study.system.kv_bits)
    return step_cost(geometry, blocks[None], 1, "command")


def _energy(cost: StepCost) -> float | None:
    total = cost.energy.total_pj
    return None if total is None else float(total[0])
