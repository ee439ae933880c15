import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.starc import claims, lookup
from analysis.starc.claims import CLAIMS, Finding, Range, findings, reduction, smoothed, verdict
from analysis.starc.cost import (
    LayerRun,
    LayerSimulator,
    Point,
    simulate_on,
    touched_rows,
)
from analysis.starc.figures import buckets, placed
from analysis.starc.frames import context_rows, statistics, steps_frame
from analysis.starc.lookup import steps_data
from analysis.starc.page import study_html
from analysis.starc.placement import placements, spread_mask
from analysis.starc.row_tokens import RowTokens, read_folder, read_table
from analysis.starc.sample import PUBLISHED, sample_of
from analysis.starc.shapes import SHAPES, System, shape_named
from analysis.starc.study import Study, run_study, scored_vectors, series_of
from analysis.starc.words import differences, summary
from pimreplay.hardware.reading import load
from tracegen.base.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden" / "starc"
HARDWARE = load("attacc_hbm3_bank")
LLAMA = shape_named("llama", "test")
BLOCK_CYCLES = 30


def table(folder: Path, name: str, lines: object) -> Path:
    path = folder / name
    text = lines if isinstance(lines, str) else "".join(f"{line}\n" for line in lines)  # type: ignore[attr-defined]
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def pretended(point: Point) -> LayerRun:
    """Take cycles in proportion to block rows, so that every expected ratio is plain."""
    rows = point.block_rows
    assert rows is not None
    cycles = BLOCK_CYCLES * rows + (5000 if point.cluster else 0)
    moves = 8 * rows + (100 if point.cluster else 0)
    return LayerRun(cycles, 4 * rows, 1, moves, moves, 8, 64 * rows)


def simulator(system: System) -> LayerSimulator:
    return LayerSimulator(system, HARDWARE.organisation.channels, pretended)


def study_of(tables: dict[tuple[str, str], object], prompt_tokens: int = 4000) -> Study:
    system = System(prompt_tokens=prompt_tokens)
    found = [
        RowTokens(Path(f"{model}_{method}.txt"), shape_named(model, ""), method, np.array(values))
        for (model, method), values in tables.items()
    ]
    return run_study(found, HARDWARE, system, simulator(system))


@pytest.fixture(scope="module")
def study() -> Study:
    steps = np.arange(200.0)
    return study_of(
        {
            ("llama", "quest"): np.full(200, 1024.0),
            ("llama", "sparq"): np.where(steps % 2, 4000.0, 3200.0),
            ("llama", "starc"): np.full(200, 1600.0),
        }
    )


# ---- the tables ------------------------------------------------------------------------------


def test_both_ways_of_naming_a_table_are_read(tmp_path: Path) -> None:
    table(tmp_path, "kv_budget_Mistral_STARC.txt", [1600, 1616])
    table(tmp_path, "llama_sparq.txt.gz", [4030, 3972])
    found = read_folder(tmp_path)
    assert [(one.shape.name, one.method) for one in found] == [
        ("llama", "sparq"),
        ("mistral", "starc"),
    ]
    assert found[0].tokens.tolist() == [4030.0, 3972.0]


def test_blank_lines_and_comments_are_skipped_as_the_artefact_does(tmp_path: Path) -> None:
    path = table(tmp_path, "gpt_quest.txt", "# steps\n\n1024\n 1040 \n\n")
    assert read_table(path).tokens.tolist() == [1024.0, 1040.0]


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    table(tmp_path, "gpt_quest.txt", [1024])
    (tmp_path / "README.md").write_text("words")
    assert len(read_folder(tmp_path)) == 1


BAD_TABLES: list[tuple[str, object, str]] = [
    ("llama_quest.txt", "1024\ntwelve\n", "llama_quest.txt, line 2: found 'twelve'"),
    ("llama_quest.txt", "1024\n\n0\n", "llama_quest.txt, line 3: found '0'"),
    ("llama_quest.txt", "nan\n", "line 1: found 'nan'"),
    ("llama_quest.txt", "1024 1024\n", "line 1: found '1024 1024'"),
    ("llama_quest.txt", "", "llama_quest.txt: is empty"),
    ("llama_quest.txt", "# only words\n", "llama_quest.txt: is empty"),
    ("lama_quest.txt", [1024], "model 'lama' is unknown; known: gpt, llama, mistral; did you"),
    ("llama_qest.txt", [1024], "method 'qest' is unknown; known: quest, sparq, starc; did you"),
    ("llama.txt", [1024], "the name does not say a model and a method"),
]


@pytest.mark.parametrize(
    ("name", "lines", "message"), BAD_TABLES, ids=[one[2] for one in BAD_TABLES]
)
def test_a_bad_table_is_named_with_its_line(
    tmp_path: Path, name: str, lines: object, message: str
) -> None:
    table(tmp_path, name, lines)
    with pytest.raises(UserError) as error:
        read_folder(tmp_path)
    assert message in str(error.value)


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, "llama_quest.txt.gz", [1024] * 500)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"llama_quest\.txt\.gz: is not a whole gzip file"):
        read_folder(tmp_path)


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file, not a folder"):
        read_folder(table(tmp_path, "llama_quest.txt", [1]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no table"):
        read_folder(tmp_path / "empty")


def test_a_second_table_of_the_same_is_refused(tmp_path: Path) -> None:
    table(tmp_path, "llama_quest.txt", [1024])
    table(tmp_path, "kv_budget_Llama_Quest.txt", [1024])
    with pytest.raises(UserError, match="a second table of llama and quest"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "period"),
    [([3, 1, 2, 3, 1, 2, 3], 3), ([1, 2, 3, 4], None), ([5, 5, 5, 5], None), ([1, 2, 1, 3], None)],
)
def test_a_table_says_when_it_repeats_itself(numbers: list[int], period: int | None) -> None:
    one = RowTokens(Path("x"), LLAMA, "starc", np.array(numbers, dtype=float))
    assert one.period_steps() == period


# ---- cycles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "rows", "cluster", "cycles"),
    [
        (2048, 103, False, 3114),
        (2048, 103, True, 22530),
        (4096, 64, False, 1890),
        (4096, 64, True, 42823),
        (32768, None, False, 68259),
    ],
)
def test_cycles_are_those_of_the_reference_simulator(
    context: int, rows: int | None, cluster: bool, cycles: int
) -> None:
    """Measured with AttAcc's simulator (c600051) and the artefact's generator (30d4ce9)."""
    real = LayerSimulator(System(), 16, simulate_on(HARDWARE, 2))
    assert real.layer(LLAMA, context, rows, cluster).cycles == cycles


@pytest.mark.parametrize(("rows", "cluster"), [(5, False), (129, False), (40, True)])
def test_one_channel_stands_for_all_channels_of_a_round(rows: int, cluster: bool) -> None:
    simulate = simulate_on(HARDWARE, 2)
    one = simulate(Point(1, 128, 16 * rows, rows, cluster))
    assert simulate(Point(13, 128, 16 * rows, rows, cluster)) == one.times(13)


def test_more_heads_than_channels_are_simulated_as_they_are() -> None:
    system = System(batch=40)
    asked: list[Point] = []

    def watched(point: Point) -> LayerRun:
        asked.append(point)
        return LayerRun(point.context_tokens, 1, 1, 1, 1, 1, 1)

    heads = system.heads_per_stack(LLAMA)
    assert heads == 32
    costs = LayerSimulator(system, 16, watched).steps(
        LLAMA, np.array([3000, 3001]), np.array([1024.0, 1024.0])
    )
    assert costs.cycles.tolist() == [3000, 3001]  # their moves depend on the context
    assert asked[0] == Point(heads, 128, 3000, 64)


def test_block_rows_are_cut_to_the_context() -> None:
    context = np.array([2049, 2049, 2064, 5000])
    tokens = np.array([4030.0, 1600.5, 4000.0, 4000.0])
    assert touched_rows(context, tokens).tolist() == [129, 101, 129, 250]
    assert touched_rows(context, None).tolist() == [129, 129, 129, 313]


def test_each_distinct_number_of_block_rows_is_simulated_once() -> None:
    known = simulator(System())
    context = np.arange(2049, 2049 + 64)
    costs = known.steps(LLAMA, context, None)
    assert known.simulated == len(np.unique(costs.block_rows)) == 4
    assert costs.cycles.tolist() == (BLOCK_CYCLES * -(-context // 16)).tolist()


def test_the_output_that_the_artefact_publishes_is_met_to_the_last_digit() -> None:
    system = System()
    real = LayerSimulator(system, 16, simulate_on(HARDWARE, 2))
    found = read_folder(GOLDEN)[0]
    series = series_of(
        HARDWARE, system, real, found.shape, found.method, 16_000, found.tokens[:16_000]
    )
    sample = sample_of(HARDWARE, real, series)
    assert sample is not None
    assert round(sample.matmul_ms, 9) == PUBLISHED.matmul_ms
    assert round(sample.memory_nj, 2) == PUBLISHED.memory_nj
    assert round(sample.compute_nj, 1) == PUBLISHED.compute_nj


def test_the_golden_table_holds_one_inference_repeated() -> None:
    found = read_folder(GOLDEN)[0]
    assert (len(found.tokens), found.period_steps()) == (32_000, 1888)


# ---- the study -------------------------------------------------------------------------------


def test_a_context_is_the_step_that_reads_it(study: Study) -> None:
    rows = context_rows(study).filter(model=LLAMA.title, context_tokens=4096)
    assert rows["step"].unique().to_list() == [95]
    cycles = dict(zip(rows["method"], rows["cycles"], strict=True))
    assert cycles == {
        "full": BLOCK_CYCLES * 256,
        "quest": BLOCK_CYCLES * 64,
        "sparq": BLOCK_CYCLES * 250,
        "starc": BLOCK_CYCLES * 100,
    }
    starc = rows.filter(method="starc").row(0, named=True)
    assert starc["latency_vs_full_ratio"] == pytest.approx(100 / 256)
    assert starc["latency_vs_sparq_ratio"] == pytest.approx(100 / 250)
    assert starc["mean_cycles"] == BLOCK_CYCLES * 100
    assert starc["artefact_clustering_cycles"] == 5000
    assert starc["artefact_clustering_ns_per_step"] == pytest.approx(5000 * 0.769 / 96)


def test_a_context_beyond_the_table_is_unknown_and_not_zero(study: Study) -> None:
    rows = context_rows(study).filter(pl.col("context_tokens") > 4200)
    assert len(rows) > 0
    assert rows["cycles"].is_null().all()
    assert rows["energy_pj"].is_null().all()


def test_a_model_without_tables_is_reported_for_full_attention_alone(study: Study) -> None:
    assert [shape.name for shape in study.shapes_without_tables()] == ["gpt", "mistral"]
    assert [one.method for one in study.series if one.shape.name == "gpt"] == ["full"]
    assert (
        "GPT-13B, Mistral-7B: no tables were given"
        in summary(study, context_rows(study), findings(study))[-1]
    )


def test_both_energies_fall_with_what_is_read(study: Study) -> None:
    full, starc = study.of(LLAMA, "full"), study.of(LLAMA, "starc")
    assert full is not None
    assert starc is not None
    assert full.counted_pj is not None
    assert starc.counted_pj is not None
    assert (starc.counted_pj < 0.5 * full.counted_pj).all()
    assert (starc.artefact.memory_pj < 0.5 * full.artefact.memory_pj).all()
    assert (starc.artefact.compute_pj == full.artefact.compute_pj).all()  # as the artefact has it


def test_scoring_counts_the_vectors_that_each_method_reads() -> None:
    context = np.array([4096])
    found = {m: scored_vectors(m, context, LLAMA)[0] for m in ("full", "starc", "quest", "sparq")}
    assert found == {"full": 0, "starc": 256, "quest": 512, "sparq": 512}


def test_statistics_say_what_each_table_holds(study: Study) -> None:
    sparq = statistics(study).filter(method="sparq").row(0, named=True)
    assert sparq["mean_tokens"] == 3600
    assert (sparq["min_tokens"], sparq["max_tokens"]) == (3200, 4000)
    assert sparq["overfetch_ratio"] == pytest.approx(3600 / 1024)
    assert sparq["period_steps"] == 2


def test_every_step_is_in_the_csv(study: Study) -> None:
    frame = steps_frame(study)
    assert len(frame) == 200 * 6  # three full, three tables
    assert frame.filter(method="starc")["cycles"].unique().to_list() == [BLOCK_CYCLES * 100]


# ---- the claims ------------------------------------------------------------------------------


def test_reductions_are_of_steps_or_of_the_decode_so_far(study: Study) -> None:
    starc, sparq = study.of(LLAMA, "starc"), study.of(LLAMA, "sparq")
    assert starc is not None
    assert sparq is not None
    step = reduction(starc, sparq, "latency")
    decode = reduction(starc, sparq, "latency", from_start=True)
    assert step is not None
    assert decode is not None
    assert step[:2].tolist() == pytest.approx([0.5, 0.6])
    assert decode[:2].tolist() == pytest.approx([0.5, 1 - 200 / 450])


def test_every_claim_of_both_versions_is_set_beside_the_tables(study: Study) -> None:
    found = findings(study)
    assert [(one.claim.text, one.claim.versus) for one in found] == [
        ("19-31 %", "token-wise"),
        ("19-27 %", "token-wise"),
        ("54-74 %", "full"),
        ("45-67 %", "full"),
        ("up to 78 %", "token-wise"),
        ("up to 65 %", "token-wise"),
        ("up to 93 %", "full"),
        ("up to 92 %", "full"),
    ]
    assert found[0].steps == Range(pytest.approx(0.6), pytest.approx(0.6))  # type: ignore[arg-type]
    assert verdict(found[0]) == "above the published range everywhere"
    assert verdict(found[2]) == "within the published range"
    assert verdict(found[6]).endswith("points below it over the whole decode")


def test_without_a_starc_table_no_claim_is_judged() -> None:
    found = findings(study_of({("llama", "quest"): np.full(200, 1024.0)}))
    assert {one.most for one in found} == {None}
    assert all(verdict(one).startswith("not known: needs a STARC table") for one in found)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.10, 0.18, "below the published range everywhere"),
        (0.10, 0.25, "within the range at some contexts, below it at others"),
        (0.20, 0.30, "within the published range"),
        (0.20, 0.40, "within the range at short contexts, above it at long ones"),
        (0.40, 0.50, "above the published range everywhere"),
    ],
)
def test_a_verdict_follows_from_the_numbers(low: float, high: float, words: str) -> None:
    finding = Finding(
        CLAIMS[0], Range(low, high), Range(low, high), high, high, None, None, None, (None, None)
    )
    assert verdict(finding) == words


def test_a_running_mean_keeps_the_length_and_the_constant() -> None:
    assert smoothed(np.full(10, 3.0), 5).tolist() == [3.0] * 10
    assert smoothed(np.array([0.0, 3.0, 6.0]), 3).tolist() == [1.5, 3.0, 4.5]
    assert claims.SMOOTHED_STEPS % 2 == 1


# ---- where block rows lie --------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "touched"), [(256, 100), (7, 7), (16, 1), (2048, 65)])
def test_spread_blocks_are_as_many_and_evenly_apart(blocks: int, touched: int) -> None:
    places = np.flatnonzero(spread_mask(blocks, touched))
    assert len(places) == touched
    gaps = np.diff([*places, blocks])
    assert gaps.max() - gaps.min() <= 1


def test_spread_blocks_open_more_rows_and_take_longer(study: Study) -> None:
    found = placements(study)
    assert {(one.method, one.context_tokens) for one in found} == {
        ("quest", 4096),
        ("sparq", 4096),
        ("starc", 4096),
    }
    sparq = next(one for one in found if one.method == "sparq")
    assert sparq.spread_row_activations == sparq.packed_row_activations  # nearly all block rows
    for one in found:
        if one is sparq:
            continue
        assert one.spread_row_activations > one.packed_row_activations
        assert one.spread_cycles > one.packed_cycles
        assert one.packed_pj is not None
        assert one.spread_pj is not None
        assert one.spread_pj > one.packed_pj
    quest = next(one for one in found if one.method == "quest")
    assert quest.packed_cycles == 1890  # as the layer's: 64 block rows side by side


# ---- the report ------------------------------------------------------------------------------


def test_buckets_average_neighbours_and_lose_no_step() -> None:
    x, mean, low, high = buckets(np.arange(10), np.arange(10.0), points=3)
    assert (x, mean) == ([1.0, 4.0, 7.5], [1.0, 4.0, 7.5])
    assert (low, high) == ([0.0, 3.0, 6.0], [2.0, 5.0, 9.0])


def test_the_report_holds_the_cycles_of_every_step(study: Study) -> None:
    data = steps_data(study)
    assert data is not None
    for one, series in zip(data["series"], study.series, strict=True):
        context = data["first"] + np.arange(one["steps"])
        rows = one.get("rows", (-(-context // 16)).tolist())
        assert [data["cycles"][row] for row in rows] == series.costs.cycles.tolist()


def test_too_many_steps_are_left_to_the_csv(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MOST_STEPS", 599)
    assert steps_data(study) is None
    page = study_html(study, Path("row_tokens"))
    assert 'id="steps"' not in page


def test_every_figure_is_a_valid_plotly_figure(study: Study) -> None:
    drawings = placed(study)
    assert len(drawings) == len(SHAPES) + 4 + 1
    for one in drawings:
        go.Figure(one.drawing.plain())


def test_the_report_says_the_claims_the_reasons_and_what_is_missing(study: Study) -> None:
    page = study_html(study, Path("row_tokens"))
    for text in ("19-31 %", "up to 78 %", "GPT-13B", "Where they differ, and why", "InfiniGen"):
        assert text in page
    assert len(page.encode()) < 8_000_000
    leads = [lead for lead, _ in differences(study, findings(study), placements(study))]
    assert "The tables are shorter than they look." in leads
    assert "Where the block rows lie can outweigh how many there are." in leads


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    def invoke(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["reproduce-starc", *map(str, arguments)])
        error = result.exception
        code = error.exit_code if isinstance(error, UserError) else result.exit_code
        return code, result.output + (str(error) if isinstance(error, UserError) else "")

    return invoke


def test_the_command_writes_the_report_and_every_step(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    table(tmp_path, "gpt_starc.txt", [1648, 1024, 1640])
    out, csv = tmp_path / "report.html", tmp_path / "steps.csv"
    code, output = run("--row-tokens", tmp_path, "--out", out, "--csv", csv)
    assert code == 0
    assert "read 1 tables, 3 steps" in output
    assert out.stat().st_size < 8_000_000
    steps = pl.read_csv(csv).filter(model="gpt", method="starc")
    assert steps["cycles"].to_list() == [3114, 1890, 3114]  # the reference's
    code, output = run("--row-tokens", tmp_path, "--out", out)
    assert (code, "exists already" in output) == (2, True)


def test_the_command_refuses_what_it_cannot_use(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    out = tmp_path / "report.html"
    code, output = run("--row-tokens", tmp_path / "nowhere", "--out", out)
    assert (code, "no such folder" in output) == (2, True)
    table(tmp_path, "llama_starc.txt", [1600])
    code, output = run("--row-tokens", tmp_path, "--out", out, "--hardware", "attacc_hbm3_bg")
    assert (code, "MAC units at level 'bg'" in output) == (2, True)
    code, output = run("--row-tokens", tmp_path, "--out", out, "--hardware", "attac_hbm3_bank")
    assert (code, "did you mean attacc_hbm3_bank" in output) == (2, True)
    assert not out.exists()
