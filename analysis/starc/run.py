"""From a folder of tables to the report: the whole chain of `analysis reproduce-starc`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.starc.row_tokens import read_folder
from analysis.starc.shapes import System
from tracegen.base.errors import UserError
from tracegen.base.space import in_words


@dataclass(frozen=True, slots=True)
class Request:
    """What one call is asked for."""

    row_tokens: Path
    out: Path
    csv: Path | None = None
    hardware: str = "attacc_hbm3_bank"
    batch: int = 16
    prompt_tokens: int = 2048
    overwrite: bool = False


def reproduce(request: Request) -> Iterator[str]:
    """Write the report; yield a line for each thing that is done.

    Raises:
        UserError: the tables, the device or the output file are not what they must be.
    """
    tables = read_folder(request.row_tokens)
    from analysis.starc.cost import LayerSimulator, simulate_on
    from analysis.starc.frames import steps_frame
    from analysis.starc.page import study_html
    from analysis.starc.sample import sample_from
    from analysis.starc.study import run_study
    from pimreplay.hardware.reading import load
    from tracegen.base.folder import refuse_existing, write_file

    for path in (request.out, request.csv):
        if path is not None:
            refuse_existing(path, overwrite=request.overwrite)
    hardware = load(request.hardware)
    if hardware.level.name != "bank":
        raise UserError(
            f"hardware {hardware.name!r} has its MAC units at level {hardware.level.name!r}; the"
            ' artefact\'s generator is for bank, choose a device with level = "bank"'
        )
    system = System(batch=request.batch, prompt_tokens=request.prompt_tokens)
    simulator = LayerSimulator(
        system,
        hardware.organisation.channels,
        simulate_on(hardware, system.element_bytes),
    )
    study = run_study(tables, hardware, system, simulator)
    sample = sample_from(study, simulator)
    steps = sum(len(table.tokens) for table in tables)
    yield (
        f"read {len(tables)} tables, {steps:,} steps; simulated {simulator.simulated:,} distinct"
        " points"
    )
    write_file(request.out, study_html(study, request.row_tokens, sample))
    yield f"wrote {request.out} ({in_words(request.out.stat().st_size)})"
    if request.csv is not None:
        write_file(request.csv, steps_frame(study).write_csv(float_precision=3))
        yield f"wrote {request.csv} ({in_words(request.csv.stat().st_size)})"
