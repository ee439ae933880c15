"""The recipes of a metric and a figure: a file that is dropped in is in every output."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pimreplay.cli import app as pimreplay

ROOT = Path(__file__).parents[2]
RECIPE = re.compile(r'^```python title="(analysis/[^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
METRIC, METRIC_CSV, FIGURE = (
    "Energy of a selected token",
    "energy_per_token",
    "Energy against latency",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of `analysis` with the files of docs/extend.md dropped in."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "analysis", folder / "analysis")
    recipes = RECIPE.findall((ROOT / "docs" / "extend.md").read_text(encoding="utf-8"))
    assert [Path(path).parent.name for path, _ in recipes] == ["metrics", "figures"]
    for path, text in recipes:
        assert not (folder / path).exists()
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def results(house: Path) -> Path:
    from typer.testing import CliRunner

    folder = house / "results"
    policies = ["--policy", "dense", "--policy", "quest"]
    trace = str(ROOT / "traces" / "needle_1k")
    command = ["run", trace, *policies, "--budget", "64", "--layer", "12"]
    hardware = ["--hardware", "attacc_hbm3_bank", "--workers", "0", "--out", str(folder)]
    done = CliRunner().invoke(pimreplay, [*command, *hardware], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def python(house: Path, code: str) -> str:
    """Run code in a process of its own, whose `analysis` is the copy."""
    paths = f"import sys; sys.path[:0] = [{str(house)!r}, {str(ROOT)!r}]\n"
    check = f"import analysis; assert analysis.__file__.startswith({str(house)!r})\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", paths + check + code],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(house: Path, *arguments: object) -> str:
    code = "from analysis.cli import app; app(sys.argv[1:] or {!r}, standalone_mode=False)"
    return python(house, code.format([str(one) for one in arguments]))


def test_the_metric_is_in_the_terminal(house: Path, results: Path) -> None:
    table = pl.read_csv(command(house, "compare", results, "--csv").encode())
    energy_nj = table.filter(policy="quest")[f"{METRIC_CSV}_pj"].item() / 1e3
    text = command(house, "compare", results)
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("quest")]
    assert f"{energy_nj:#.3g}".rstrip(".") in [word for line in lines for word in line]


def test_the_metric_is_in_the_csv_and_in_latex(house: Path, results: Path) -> None:
    assert f",{METRIC_CSV}_pj," in command(house, "compare", results, "--csv").splitlines()[0]
    stacked = r"\\".join(METRIC.split())  # a word a line
    assert stacked in command(house, "compare", results, "--latex")


def test_both_are_in_the_report(house: Path, results: Path) -> None:
    command(house, "report", results, "--out", house / "report.html")
    page = (house / "report.html").read_text(encoding="utf-8")
    table = page[page.index('id="overview"') :]
    assert METRIC in table[: table.index("</thead>")]
    assert f"<td>{METRIC}</td>" in page or f'<th scope="row">{METRIC}</th>' in page
    assert f"{METRIC_CSV}_pj" in page
    assert 'id="energy_against_latency"' in page
    assert f'id="comparison_{METRIC_CSV}"' in page


def test_both_are_in_the_dashboard(house: Path, results: Path) -> None:
    views = python(
        house,
        "import json\n"
        "from analysis.dashboard.content import Content\n"
        "from analysis.results.tidying import tidy\n"
        "from pimreplay.results.reader import open_results\n"
        f"content = Content(tidy(open_results([{str(results)!r}])))\n"
        "for view in content.views[:-1]:\n"
        "    print(content.update(f'?view={view}')[0])\n",
    )
    assert METRIC in views
    assert FIGURE in views


def test_the_figure_is_exported(house: Path, results: Path) -> None:
    names = python(
        house,
        "from analysis.report.export import stills\n"
        "from analysis.results.tidying import tidy\n"
        "from pimreplay.results.reader import open_results\n"
        f"print(*dict(stills(tidy(open_results([{str(results)!r}])))))\n",
    )
    assert {"energy_against_latency", f"comparison_{METRIC_CSV}"} <= set(names.split())
