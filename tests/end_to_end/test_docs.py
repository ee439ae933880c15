"""Every command of the documentation is run, in the order in which a reader meets it."""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md") if "```console" in path.read_text("utf-8"))
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def application(name: str):
    if name == "tracegen":
        from tracegen.cli import app
    elif name == "pimreplay":
        from pimreplay.cli import app
    else:
        from analysis.cli import app
    return app


def run(command: str) -> None:
    name, *arguments = shlex.split(command)
    assert name in ("tracegen", "pimreplay", "analysis"), f"not a command of the project: {command}"
    if arguments[0] == "dashboard":
        serve(arguments)
        return
    result = CliRunner().invoke(application(name), arguments)
    failure = result.exception if result.exit_code else None
    assert failure is None, f"{command}\n{result.output}\n{failure!r}"


def serve(arguments: list[str]) -> None:
    """Start a command that runs until it is stopped, ask for its page, stop it."""
    command = [sys.executable, "-c", "from tracegen.main import analysis; analysis()", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "dashboard at " in line)
            address = re.findall(r"http://\S+", line)[0]
            with urllib.request.urlopen(address, timeout=30) as page:
                assert "PIM replay" in page.read().decode()
        finally:
            process.terminate()


def build(block: Block) -> None:
    """Run a Python example; one that would be a file of the package must define what it shows."""
    space: dict[str, object] = {"__name__": "example"}
    exec(compile(block.text, block.title, "exec"), space)
    if block.title.startswith("analysis/metrics/"):
        from analysis.metrics import Metric

        assert isinstance(space["METRIC"], Metric)
    if block.title.startswith("analysis/figures/"):
        from analysis.results.tidying import tidy
        from pimreplay.results.reader import open_results

        (figure,) = space["FIGURES"]
        assert figure.draw(tidy(open_results(["new/base", "new/fast"]))).data


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_command_and_example_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    run(line.removeprefix("$ "))
        elif block.language == "toml" and block.title:
            (tmp_path / block.title).write_text(block.text)
        elif block.language == "python" and block.title:
            build(block)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_every_link_and_picture_of_a_page_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert missing == []


def test_the_pages_with_commands_are_found() -> None:
    assert {"tour", "your_model", "extend", "reading_results"} <= {page.stem for page in PAGES}
