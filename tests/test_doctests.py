"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("tracegen", "pimreplay", "analysis")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_give_what_they_say(module: str) -> None:
    found = doctest.testmod(import_module(module))
    assert found.failed == 0
    assert found.attempted > 0


def test_examples_are_found() -> None:
    assert "tracegen.base.errors" in MODULES
