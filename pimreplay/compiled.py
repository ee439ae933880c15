"""Compile the kernels, and keep what was compiled for as long as its sources stay as they are.

numba keeps compiled code by the content of the called function's own file: an edit in a function
that it calls from another file would go unseen. So all kernels are kept in one folder that is named
by a hash of all their sources.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit

PACKAGE = Path(__file__).parent
SOURCES = ("bank_model", "command_sets", "cost/walks")
"""Folders that hold compiled functions and the constants compiled into them."""


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a function as numba's `njit` does, kept on disk.

    Whole numbers divide as in C (`error_model="numpy"`): no kernel divides by zero. A function that
    makes no array is given `_nrt=False`: references to arrays passed on are then not counted.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder())
        try:
            made: Callable[..., Any] = njit(cache=True, error_model="numpy", **options)(function)
            return made
        finally:
            config.CACHE_DIR = before

    return compiled


@cache
def folder() -> Path:
    """Return where compiled code is kept: beside the sources, else in the user's cache folder.

    What earlier sources were compiled to is removed from beside them. NUMBA_CACHE_DIR names
    another place.
    """
    name = f"compiled-{_sources_sha256()[:16]}"
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR) / name
    beside = PACKAGE / "__pycache__"
    if not os.access(PACKAGE, os.W_OK):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "pimreplay" / name
    if not (beside / name).exists():
        for old in beside.glob("compiled-*"):
            shutil.rmtree(old, ignore_errors=True)
    return beside / name


def _sources_sha256() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (PACKAGE / name).rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()
