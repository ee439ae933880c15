"""Compiled code that is kept on disk must not outlive a file that it was made from."""

import hashlib
import re
from pathlib import Path

import pytest

import pimreplay

FOLDER = Path(pimreplay.__file__).parent / "cost" / "walks"
IMPORTED = re.compile(r"from pimreplay\.cost\.walks(?: import |\.)(all_bank|queue|buses)\b")


def sources(name: str) -> set[str]:
    """Return the files whose functions and numbers go into those of a file."""
    found = set(IMPORTED.findall((FOLDER / f"{name}.py").read_text()))
    return found.union(*(sources(one) for one in found))


@pytest.mark.parametrize("name", ["bank_group", "buffer"])
def test_a_walk_names_the_files_it_is_compiled_with(name: str) -> None:
    # numba looks at the content of the called function's own file alone
    texts = [(FOLDER / f"{one}.py").read_bytes() for one in sorted(sources(name))]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:8]
    said = f"compiled with {digest}."
    assert said in (FOLDER / f"{name}.py").read_text(), f"write there: {said}"
