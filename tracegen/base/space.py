"""How much room is left where something is about to be written, and sizes in words."""

import resource
import shutil
import sys
from pathlib import Path


def free_bytes(where: str | Path) -> int | None:
    """Return the free bytes of the disk that will hold `where`; None for a URL: not known."""
    if "://" in str(where):
        return None
    folder = Path(where).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def peak_memory_bytes() -> int:
    """Return the most memory that this process has had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # kilobytes elsewhere


def in_words(size_bytes: float) -> str:
    """Return a size as people read it, in decimal units.

    >>> in_words(2_560_000)
    '2.6 MB'
    """
    from rich.filesize import decimal

    return decimal(int(size_bytes))
