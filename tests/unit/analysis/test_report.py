import json
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.report import outputs as report_outputs
from analysis.report.outputs import Outputs, write_all
from analysis.report.page import report_html
from analysis.results.summary import settings
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from analysis.results.words import words
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError

Make = Callable[..., Path]
Load = Callable[..., Table]
MOST_BYTES = 8_000_000


def text_of(page: str) -> str:
    """Return the page without its scripts."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_report_needs_nothing_outside_itself(load: Load) -> None:
    page = text_of(report_html(load()))
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert '<link rel="stylesheet"' not in page


def test_of_reports_that_race_to_one_file_one_is_left_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_outputs, "report_html", lambda table: table)
    outputs = Outputs.planned(tmp_path / "report.html", None, latex=False)
    texts: list[Any] = [letter * 1_000_000 for letter in "abcd"]
    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in range(10):
            list(pool.map(lambda text: list(write_all(text, outputs, overwrite=True)), texts))
            assert (tmp_path / "report.html").read_text() in texts
            assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_the_report_is_small_enough_for_any_number_of_runs(make: Make) -> None:
    hardware = tuple(f"device_{number:02}" for number in range(12))
    budgets = tuple(str(8 * number) for number in range(1, 13))
    table = tidy(open_results([make(hardware=hardware, budgets=budgets)]), rows=5_000)
    page = report_html(table)
    assert len(page.encode()) < MOST_BYTES
    assert "Settings that are in the table only: " in page


def test_the_summary_names_the_best_method_at_each_level(load: Load) -> None:
    table = load().charging("attention")
    dense, fastest, least_energy, kept = words(table, settings(table)[0])
    assert "over the 2 layers that the policies decide, a decode step takes" in dense
    assert dense.endswith("Latency and energy below: attention alone.")
    assert fastest == (
        "Fastest that keeps that part of the attention mass: at 80 % quest (0.20\u00d7 dense), at"
        " 90 % quest (0.20\u00d7 dense), at 95 % quest (0.20\u00d7 dense), none keeps 99 %."
    )
    assert least_energy.startswith("Least energy that keeps")
    assert "The 1 layer that the run kept dense" in kept


def test_methods_with_the_same_results_are_named(load: Load) -> None:
    table = load(policies=("dense", "quest", "quest:page_tokens=32"))
    sentences = words(table, settings(table)[0])
    assert "The same results, so drawn on one another: quest, quest page 32." in sentences


def test_the_summary_says_when_there_is_no_baseline(load: Load) -> None:
    table = load(policies=("quest", "starc"))
    assert "no dense run is in the results" in words(table, settings(table)[0])[0]


def test_the_summary_says_when_only_dense_was_run(load: Load) -> None:
    table = load(policies=("dense",))
    assert words(table, settings(table)[0]) == [
        "Only dense attention was run: there is nothing to compare it with."
    ]
    report_html(table)


def test_assumptions_and_unknown_parts_are_visible(load: Load) -> None:
    page = text_of(report_html(load()))
    assert "values flagged as assumed" in page
    assert "timing: scaled from HBM2" in page
    assert "Not known in these results" in page
    assert "Layers 0 read every token" in page


def test_a_synthetic_trace_is_marked(load: Load) -> None:
    page = text_of(report_html(load(kind="synthetic")))
    assert "Synthetic trace: needle." in page
    assert "Synthetic trace" not in text_of(report_html(load(name="other")))


def test_failed_points_are_named_with_their_error(make: Make, reseal: Callable[..., None]) -> None:
    folder = make()
    failed = pl.col("policy") == "quest"
    tables = {
        name: pl.read_parquet(folder / f"{name}.parquet").filter(~failed)
        for name in ("steps", "layers", "channels")
    }
    points = pl.read_parquet(folder / "points.parquet").with_columns(
        status=pl.when(failed).then(pl.lit("failed")).otherwise("status"),
        error=pl.when(failed).then(pl.lit("the worker died")),
    )
    reseal(folder, points=points, **tables)
    page = text_of(report_html(tidy(open_results([folder]))))
    assert page.count("Failed point") == 1
    assert "/quest//sequential/attacc_hbm3_bank/256: the worker died" in page


def test_the_csv_has_units_in_its_names_and_full_precision(load: Load) -> None:
    page = report_html(load())
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    rows = pl.read_csv(data["csv"]["attention"].encode())
    assert {"latency_ns", "energy_pj", "latency_vs_dense_ratio", "over_fetch_ratio"} <= set(
        rows.columns
    )
    assert rows.filter(policy="starc")["latency_vs_dense_ratio"].item() == pytest.approx(0.25)


def test_names_from_results_cannot_break_the_page(load: Load) -> None:
    page = text_of(report_html(load(trace="</p><b>bold", model="<i>")))
    assert "<b>bold" not in page


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(result.exception, UserError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def test_the_report_command_prints_what_it_wrote(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code, text = run("report", make(), "--out", out)
    assert (code, out.exists()) == (0, True)
    assert re.fullmatch(rf"wrote {out} \(\d\.\d MB\)\n", text)


def test_a_report_is_not_overwritten_unasked(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("mine")
    code, text = run("report", make(), "--out", out)
    assert code == 2
    assert "exists already" in text
    assert out.read_text() == "mine"
    assert run("report", tmp_path / "results", "--out", out, "--overwrite")[0] == 0


def test_an_unknown_format_names_the_known_ones(make: Make, tmp_path: Path) -> None:
    code, text = run("report", make(), "--out", tmp_path / "f", "--format", "pngg")
    assert code == 2
    assert "known: pdf, png, svg; did you mean png?" in text


def test_the_latex_tables_are_written_beside_the_report(make: Make, tmp_path: Path) -> None:
    assert run("report", make(), "--out", tmp_path / "r.html", "--latex")[0] == 0
    text = (tmp_path / "r.tex").read_text()
    tables = text.count(r"\begin{tabular}")
    assert tables > 1, "what does not fit a page's width follows below"
    assert text.count(r" \\" + "\n") == 6 * tables
    assert text.count("\nstarc & ") == tables
    assert "% needs \\usepackage{booktabs}; latency and energy: all overheads included" in text
    assert "_" not in text.replace(r"\_", "")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex to compile tables with")
def test_the_latex_tables_compile_within_seven_inches(make: Make, tmp_path: Path) -> None:
    results = make(policies=("dense", "topk", "quest:page_tokens=8", "quest:a_b=50%&#{}~^"))
    assert run("report", results, "--out", tmp_path / "r.html", "--latex")[0] == 0
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[10pt]{article}\usepackage{booktabs}\usepackage[textwidth=7in]{geometry}"
        r"\begin{document}\noindent\input{r.tex}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout
    assert "Overfull" not in made.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_pictures_are_one_a_method_where_a_page_has_a_menu(load: Load) -> None:
    from analysis.report.export import still_layout, stills

    found = dict(stills(load()))
    of_banks = [name for name in found if name.startswith("banks_channel_lane")]
    assert of_banks == [
        f"banks_channel_lane_{name}" for name in ("dense", "topk", "sparq", "quest", "starc")
    ]
    layout = still_layout(found["banks_channel_lane_starc"], inches=3.3)
    assert "updatemenus" not in layout
    assert layout["title"]["text"] == "starc"
    assert (layout["width"], layout["font"]["family"]) == (317, "Roboto")


def test_the_font_of_pictures_has_every_letter_in_them(load: Load) -> None:
    from analysis.report.export import stills
    from analysis.report.picture_font import missing_glyphs

    pytest.importorskip("font_roboto")
    text = json.dumps([one.plain() for _, one in stills(load())], ensure_ascii=False)
    assert missing_glyphs(text) == set()
    assert missing_glyphs("\u2605 and \u4e2d") == {"\u2605", "\u4e2d"}


def test_compare_prints_one_line_a_method(make: Make) -> None:
    code, text = run("compare", make())
    assert code == 0
    assert "hardware attacc_hbm3_bank, 2 of 4 channels in use" in text.splitlines()
    line = next(line for line in text.splitlines() if line.strip().startswith("starc"))
    assert "0.25\u00d7" in line
    assert "0.50\u00d7" in line
    assert "97.5 %" in line
    assert "layers 0 were kept dense" in text


def test_compare_as_csv_is_for_programs(make: Make) -> None:
    code, text = run("compare", make(), "--csv")
    assert code == 0
    assert pl.read_csv(text.encode()).height == 5


def test_compare_takes_two_folders_at_most(make: Make) -> None:
    code, text = run("compare", make("a"), make("b"), make("c"))
    assert code == 2
    assert "3 results folders were given" in text


@pytest.mark.parametrize("out", [".", "/"])
def test_a_report_without_a_name_is_refused(out: str) -> None:
    with pytest.raises(UserError, match="names no file; give one, such as"):
        Outputs.planned(Path(out), None, latex=True)
