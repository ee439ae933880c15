"""How much room is left where something is about to be written."""

import shutil
from pathlib import Path


def free_bytes(where: str | Path) -> int | None:
    """Return the free bytes of the disk that will hold `where`; None for a URL: not known."""
    if "://" in str(where):
        return None
    folder = Path(where).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
