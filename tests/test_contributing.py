"""The recipes of CONTRIBUTING.md work: each file is dropped in and looked for in every output."""

import contextlib
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pimreplay import layouts, policies
from pimreplay.hardware import reading
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from tracegen import main
from tracegen.base.discover import variant_class
from tracegen.trace.store import Trace

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))


def test_the_recipe_of_a_policy_keeps_the_last_tokens() -> None:
    module = types.ModuleType("recipe")
    exec(RECIPES["pimreplay/policies/recent.py"], module.__dict__)
    head = KvHeadTrace(
        layer=0,
        kv_head=0,
        query=torch.zeros(2, 2, 4),
        key=torch.zeros(6, 4),
        value=torch.zeros(6, 4),
        prompt_tokens=4,
        softmax_scale=0.5,
        soft_cap=None,
        sliding_window=None,
    )
    mask = variant_class(module)().select(head, Budget.parse("3")).mask
    assert mask.tolist() == [[[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]]] * 2


@pytest.fixture
def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Return a function that types a command with every recipe's file in its place.

    The folders of variants grow by folders of the same names elsewhere, so that nothing is written
    into the packages.
    """
    for path, content in RECIPES.items():
        assert not (ROOT / path).exists()
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    for package in (policies, layouts):
        folder = tmp_path / package.__name__.replace(".", "/")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    devices = tmp_path / "pimreplay" / "hardware"
    for shipped in reading.FOLDER.glob("*.toml"):
        shutil.copy(shipped, devices)
    monkeypatch.setattr(reading, "FOLDER", devices)
    monkeypatch.chdir(tmp_path)

    def typed(program: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [program, *map(str, words)])
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            getattr(main, program)()
        printed = capsys.readouterr()
        assert "error" not in printed.err
        return printed.out

    yield typed
    for path in RECIPES:
        sys.modules.pop(path.removesuffix(".py").replace("/", "."), None)


def test_every_recipe_reaches_every_output(
    house: Callable[..., str], tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    trace = tmp_path / "trace"
    make_trace(trace)
    listed = house("pimreplay", "list")
    for path in RECIPES:
        assert f"  {Path(path).stem} " in listed
    asked = ("--budget", "32", "--dense-layers", "0", "--workers", "0", "--out", "results")
    methods = ("--policy", "dense", "--policy", "recent@backwards")
    house("pimreplay", "run", trace, *methods, "--hardware", "attacc_hbm3_cool", *asked)
    house("pimreplay", "selfcheck", "--hardware", "attacc_hbm3_cool")
    assert "recent" in house("pimreplay", "explain", trace, "--policy", "recent", "--budget", "32")
    compared = house("analysis", "compare", "results", "--csv")
    house("analysis", "report", "results", "--out", "report.html")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    for output in (compared, report):
        assert "recent" in output
        assert "backwards" in output
        assert "attacc_hbm3_cool" in output
    assert "activation_pj is a what-if value" in report
