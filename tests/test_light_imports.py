"""`--help` answers at once: no command line loads a heavy library before it needs it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "numba", "polars", "plotly", "dash", "ray", "pyarrow")


def _loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["tracegen", "pimreplay", "analysis"])
def test_a_command_line_loads_nothing_heavy(package: str) -> None:
    assert _loaded(f"import {package}.cli") == set()


def test_the_check_sees_a_heavy_import() -> None:
    assert "pyarrow" in _loaded("import pyarrow")
