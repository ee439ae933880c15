"""Write requests as a command trace."""

import gzip
from pathlib import Path

import numpy as np

from pimreplay.bank_model.commands import REQUEST_WORDS, Requests
from tracegen.base.errors import UserError


def export(requests: Requests, path: Path) -> None:
    """Write requests as a gzip command trace that any Ramulator with AttAcc's front end reads."""
    words = np.array(REQUEST_WORDS)
    if path.exists():
        raise UserError(f"{path}: exists already; give another name or remove it")
    part = path.with_name(path.name + ".part")
    try:
        with gzip.open(part, "wt", encoding="ascii", newline="\n", compresslevel=6) as file:
            for start in range(0, len(requests), 1 << 16):
                kinds = words[requests.kind[start : start + (1 << 16)]].tolist()
                places = requests.address[start : start + (1 << 16)].tolist()
                file.write(
                    "".join(
                        f"{kind} 0x{place:08x}\n" for kind, place in zip(kinds, places, strict=True)
                    )
                )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
