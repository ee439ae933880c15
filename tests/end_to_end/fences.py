"""The fenced blocks of the documentation, each executed or parsed by the reader of its language."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.main import get_group
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r'^( *)```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^\1```$',
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = ("tracegen", "pimreplay", "analysis")


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page; a fence that opens no block is an error."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(one["language"], one["title"] or "", one["text"]) for one in FENCE.finditer(text)
    ]
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: a fence without its other half, or an odd one"
    return found


def read(block: Block) -> None:
    """Execute or parse a block in the working folder, beside what earlier blocks left there."""
    reader = READERS.get(block.language)
    assert reader is not None, f"```{block.language}: no reader; known: {', '.join(READERS)}"
    reader(block)


def _text(block: Block) -> None:
    """A drawing or a formula: nothing reads it but people."""


def _console(block: Block) -> None:
    """Type every line after a `$`; the others are what a command prints."""
    for line in block.text.splitlines():
        if line.startswith("$ "):
            _run(line.removeprefix("$ "))


def _run(command: str) -> None:
    name, *arguments = shlex.split(command, comments=True)
    if name == "make":  # what it would do: the targets themselves are too large for a test
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
        return
    assert name in PROGRAMS, f"not a command of the project: {command}"
    if arguments[0] == "dashboard":
        _serve(arguments)
        return
    result = CliRunner().invoke(_application(name), arguments)
    failure = result.exception if result.exit_code else None
    assert failure is None, f"{command}\n{result.output}\n{failure!r}"


def _application(name: str) -> typer.Typer:
    if name == "tracegen":
        from tracegen.cli import app
    elif name == "pimreplay":
        from pimreplay.cli import app
    else:
        from analysis.cli import app
    return app


def _serve(arguments: list[str]) -> None:
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


def _shell(block: Block) -> None:
    """Parse a script that takes too much to run, and the options of our commands in it."""
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in block.text.replace("\\\n", " ").splitlines():
        name, *arguments = shlex.split(line, comments=True) or [""]
        if name in PROGRAMS:
            command = get_group(_application(name)).commands[arguments[0]]
            command.make_parser(command.context_class(command)).parse_args(arguments[1:])


def _toml(block: Block) -> None:
    """Write the file under its title and read it as what it is: a sweep or a device."""
    assert block.title, f"a TOML file has a name, title=...:\n{block.text}"
    path = Path(block.title)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if "policies" in tomllib.loads(block.text):
        from pimreplay.study.sweep_file import read_study

        read_study(path)
    else:
        from pimreplay.mappings import load

        load(path)


def _python(block: Block) -> None:
    """Run an example; of a script to save (a title without folder) only what it imports."""
    tree = ast.parse(block.text)
    is_script = block.title.endswith(".py") and "/" not in block.title
    if is_script:
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    space: dict[str, object] = {"__name__": "example"}
    exec(compile(tree, block.title or "example", "exec"), space)
    if block.title.startswith("analysis/metrics/"):
        from analysis.metrics import Metric

        assert isinstance(space["METRIC"], Metric)
    if block.title.startswith("analysis/figures/"):
        from analysis.results.tidying import tidy
        from pimreplay.results.reader import open_results

        (figure,) = space["FIGURES"]  # type: ignore[misc]
        assert figure.draw(tidy(open_results(["new/base", "new/fast"]))).data


READERS = {
    "text": _text,
    "console": _console,
    "sh": _shell,
    "toml": _toml,
    "python": _python,
}


def pages() -> list[Path]:
    """Return every page that a reader of the project may open."""
    folders = [ROOT / name for name in ("docs", "traces", "tracegen", "tests")]
    return sorted(ROOT.glob("*.md")) + sorted(p for one in folders for p in one.rglob("*.md"))
