"""Compiled code that is kept on disk must not outlive a file that it was made from."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pimreplay import compiled

CALL = """
import numpy as np
from pimreplay.cost.walks import buffer_state
bits = np.zeros(1 << 7, dtype=np.uint64)
print(buffer_state.slot_from(bits, 0, 100, 2))
"""
CALLEE = "    return bits[which + word] >> at | "
EDITED = f"{CALLEE}ONE | "
ONE_FOLDER = (
    "from pimreplay import compiled\nfrom pathlib import Path\ncompiled.folder = lambda: Path("
)


def answers(package: Path, before: str = "") -> list[int]:
    """Return what a kernel says before and after an edit in a function that it calls."""
    shutil.copytree(
        compiled.PACKAGE, package / "pimreplay", ignore=shutil.ignore_patterns("__pycache__")
    )
    callee = package / "pimreplay" / "cost" / "walks" / "buses.py"
    text = callee.read_text()
    assert text.count(CALLEE) == 1
    found = []
    for content in (text, text.replace(CALLEE, EDITED)):
        callee.write_text(content)
        done = subprocess.run(
            [sys.executable, "-c", before + CALL],
            cwd=package,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(int(done.stdout))
    return found


def test_an_edit_in_a_callee_changes_the_answer(tmp_path: Path) -> None:
    assert answers(tmp_path) == [0, 1]  # the cycle before seems taken
    kept = list((tmp_path / "pimreplay" / "__pycache__").glob("compiled-*"))
    assert len(kept) == 1, "what earlier sources were compiled to is removed"


def test_the_check_sees_compiled_code_that_outlives_its_source(tmp_path: Path) -> None:
    assert answers(tmp_path, f"{ONE_FOLDER}{str(tmp_path / 'kept')!r})\n") == [0, 0]


def test_a_folder_that_the_user_names_is_used(tmp_path: Path) -> None:
    code = "from pimreplay import compiled; print(compiled.folder())"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == tmp_path


def kernel_files() -> list[Path]:
    """Return the files that compile functions."""
    return [
        path
        for path in compiled.PACKAGE.rglob("*.py")
        if path != Path(compiled.__file__) and "from pimreplay.compiled import" in path.read_text()
    ]


@pytest.mark.parametrize("path", kernel_files(), ids=lambda path: path.stem)
def test_a_kernel_is_made_from_hashed_sources_alone(path: Path) -> None:
    hashed = tuple(f"pimreplay.{name.replace('/', '.')}" for name in compiled.SOURCES)
    module = ".".join(path.relative_to(compiled.PACKAGE.parent).with_suffix("").parts)
    assert module.startswith(hashed)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pimreplay."):
            assert node.module == "pimreplay.compiled" or str(node.module).startswith(hashed)
