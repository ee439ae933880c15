"""What the tests of the bank model share."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from pimreplay.hardware.organisation import Organisation
from pimreplay.hardware.preset_files import load_organisation, load_timing
from pimreplay.hardware.timing import Timing

GOLDEN = Path(__file__).parents[2] / "golden" / "bank_model"


def cases(*kinds: str) -> list[dict[str, Any]]:
    """Return the golden cases of some kinds."""
    found: list[dict[str, Any]] = json.loads((GOLDEN / "cases.json").read_text())
    return [case for case in found if case["kind"] in kinds]


def device(timing: str = "HBM3_5.2Gbps", org: str = "HBM3_8Gb_2R") -> tuple[Organisation, Timing]:
    """Return an organisation and its timing by preset."""
    organisation = load_organisation(org)
    return organisation, load_timing(timing, organisation)


def names_of(timing: Timing) -> dict[str, int]:
    """Return timings under the names of the data sheets: nRC, nCCDAB, ..."""
    return {
        "n" + key[2:-7].upper(): value
        for key, value in asdict(timing).items()
        if key.startswith("n_")
    }


def requests(lines: list[tuple[str, int]]) -> Requests:
    """Build requests from (word, address)."""
    return Requests(
        np.array([REQUEST_WORDS.index(word) for word, _ in lines], dtype=np.uint8),
        np.array([address for _, address in lines], dtype=np.int64),
    )


def read_lines(path: Path) -> list[tuple[str, int]]:
    """Read a small trace without the reader under test."""
    with gzip.open(path, "rt") as file:
        return [(word, int(address, 16)) for word, address in (line.split() for line in file)]
