"""Data flows one way through the packages, and so do imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Which packages a package may import. Data crosses from one to the next as files.
ALLOWED = {
    "tracegen": {"tracegen"},
    "pimreplay": {"tracegen", "pimreplay"},
    "analysis": {"tracegen", "pimreplay", "analysis"},
}
# Within pimreplay: a part never imports one of the parts named with it.
FORBIDDEN = {
    "pimreplay/policies": (
        "pimreplay.hardware",
        "pimreplay.cost",
        "pimreplay.layouts",
    ),
    "pimreplay/layouts": (
        "pimreplay.policies",
        "pimreplay.hardware",
        "pimreplay.cost",
    ),
    "pimreplay/hardware": ("pimreplay.policies", "pimreplay.layouts", "pimreplay.cost"),
    "pimreplay/bank_model/kernel": ("pimreplay.hardware", "pimreplay.cost", "torch", "polars"),
    "tracegen/trace/schema.py": ("torch", "transformers"),
    "tracegen/trace/store.py": ("torch", "transformers"),
    "analysis/figures": ("dash", "torch", "pimreplay.policies"),
    "analysis/metrics": ("dash", "plotly", "torch"),
}


def _imports(source: str) -> set[str]:
    """Return the modules that a file imports at its top, where imports say what it depends on."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def _breaches(source: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        name
        for name in sorted(_imports(source))
        if any(
            name == one.rstrip(".") or name.startswith(one.rstrip(".") + ".") for one in forbidden
        )
    ]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_those_before_it(package: str) -> None:
    later = tuple(set(ALLOWED) - ALLOWED[package])
    for file in sorted((ROOT / package).rglob("*.py")):
        if file.name == "main.py":  # the console entry points name all three applications
            continue
        assert _breaches(file.read_text(encoding="utf-8"), later) == [], file


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_a_part_knows_nothing_of_the_parts_beside_it(part: str) -> None:
    where = ROOT / part
    files = [where] if where.suffix else sorted(where.rglob("*.py"))
    assert files, f"{part} is not there"
    for file in files:
        assert _breaches(file.read_text(encoding="utf-8"), FORBIDDEN[part]) == [], file


def test_the_check_sees_a_forbidden_import() -> None:
    source = "def f():\n    from pimreplay.layouts import place\n"
    assert _breaches(source, ("pimreplay.layouts",)) == [
        "pimreplay.layouts",
        "pimreplay.layouts.place",
    ]
