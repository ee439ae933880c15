"""Whole systems in figures: points, drawings, the page and the command."""

from pathlib import Path

import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.system import points as module
from analysis.system.figures import placed
from analysis.system.page import summary, system_html
from analysis.system.points import Points, Question, compute
from pimreplay.study.runs import RunRequest, run_once
from tracegen.base.errors import UserError

TRACE = Path(__file__).parents[3] / "traces" / "needle_1k"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("system") / "results"
    request = RunRequest(
        trace=str(TRACE), policies=("starc",), budget="64", workers=0, layers=("24",)
    )
    for _ in run_once(request, str(out)):
        pass
    return out


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTPUT_TOKENS", (20, 4000))
    monkeypatch.setattr(module, "BATCHES", (1, 16, 4096))


@pytest.fixture
def found(results: Path) -> Points:
    question = Question("Llama-3.2-1B", "H100", "bank", 16, 2048, 4000, str(results), ("starc",))
    return compute(question)


def test_every_system_is_drawn_at_every_length_that_fits(found: Points) -> None:
    assert found.systems == ["GPUs", "GPUs and PIM", "GPUs and PIM, starc"]
    assert [(one.system, one.output_tokens) for one in found.lengths[:2]] == [
        ("GPUs", 20),
        ("GPUs", 4000),
    ]
    # 4,096 sequences fit the memory of GPUs and PIM, and not that of GPUs alone
    most = {name: max(p.batch for p in found.batches if p.system == name) for name in found.systems}
    assert most == {"GPUs": 16, "GPUs and PIM": 4096, "GPUs and PIM, starc": 4096}


def test_the_parts_of_a_step_are_the_whole(found: Points) -> None:
    for one in (*found.alone, *found.lengths, *found.batches):
        assert sum(one.found["time_ms"].values()) == pytest.approx(one.found["step_ms"])
        assert 0 < one.attention_ratio < 1
        assert one.tokens_per_s == pytest.approx(1e3 * one.batch / one.found["step_ms"])


def test_every_figure_is_a_valid_plotly_figure_of_every_system(found: Points) -> None:
    drawings = placed(found)
    assert len({one.name for one in drawings}) == len(drawings) == 7
    for one in drawings:
        go.Figure(one.drawing.plain())
        for axis in ("xaxis", "yaxis"):
            assert axis in one.drawing.layout
    bars = drawings[0].drawing.data
    assert bars[0]["y"] == found.systems
    totals = [sum(bar["x"][place] for bar in bars) for place in range(3)]
    assert totals == pytest.approx([one.found["step_ms"] for one in found.alone])
    lines = drawings[-1].drawing.data
    assert [line["name"] for line in lines] == found.systems


def test_the_page_says_what_attention_is_worth(found: Points) -> None:
    page = system_html(found)
    for text in ("Where attention stops mattering", "GPUs and PIM, starc", "The numbers"):
        assert text in page
    starc = found.alone[2]
    words = " ".join(summary(found))
    assert f"Attention takes {starc.attention_ratio:.0%} of a step" in words
    assert "at no length drawn" in words


def test_results_and_policies_come_together() -> None:
    with pytest.raises(UserError, match="--results and --policy: give both"):
        compute(Question("LLAMA-7B", "H100", "bank", 1, 10, 10, None, ("starc",)))


def test_a_decode_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs .* GiB for a batch of 1000000"):
        compute(Question("LLAMA-7B", "H100", "bank", 1_000_000, 10, 10))


def test_the_command_writes_one_file_and_keeps_it(tmp_path: Path) -> None:
    out = tmp_path / "system.html"
    words = ["system", "--model", "LLAMA-7B", "--output-tokens", "100", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.output
    again = CliRunner().invoke(app, words)
    assert "exists already" in str(again.exception)
