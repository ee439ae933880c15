"""Data flows one way through the packages, and so do imports: the layers of `pyproject.toml`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("tracegen", "pimreplay", "analysis")


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the layers of the packages in a folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint"]
    command[2] += "; lint()"
    arguments = ["--no-cache", "--config", str(folder / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [*command, *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_every_import_goes_down_the_layers() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_import_upwards_and_a_package_without_a_place_are_found(tmp_path: Path) -> None:
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.json", "*.safetensors")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    layout = tmp_path / "pimreplay" / "layouts" / "sequential.py"
    layout.write_text(layout.read_text() + "\nfrom pimreplay.policies import load_policy\n")
    (tmp_path / "pimreplay" / "somewhere.py").write_text('"""A room without a floor."""\n')
    done = linted(tmp_path)
    assert done.returncode == 1
    assert "pimreplay.layouts.sequential -> pimreplay.policies" in done.stdout
    assert "somewhere" in done.stdout
