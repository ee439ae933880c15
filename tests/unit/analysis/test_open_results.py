import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from analysis.cli import app
from analysis.results.tidying import tidy
from pimreplay.results.reader import Results, open_results
from tracegen.base.errors import UserError

Make = Callable[..., Path]
TABLES = ("steps", "layers", "channels", "points")


def test_a_folder_opens_with_its_configuration_and_lazy_tables(make: Make) -> None:
    (run,) = open_results([make()])
    assert run.name == "results"
    assert run.config["configuration"]["dense_layers"] == 1
    assert run.tables["steps"].select("policy").unique().collect().height == 5


def test_two_folders_of_one_name_are_told_apart_by_their_parents(make: Make) -> None:
    first, second = make("a/out"), make("b/out")
    assert [run.name for run in open_results([first, second])] == ["a/out", "b/out"]


def test_results_are_read_from_a_url_too(make: Make) -> None:
    folder = make()
    (local,), (remote,) = open_results([folder]), open_results([folder.as_uri()])
    assert remote.name == "results"
    # Threads add up a mean in any order, so its last bit may differ from one run to the next.
    assert_frame_equal(tidy([remote]).measured(), tidy([local]).measured(), rel_tol=1e-12)


def test_no_folder_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="no results folder was given"):
        open_results([])


def test_a_folder_given_twice_is_refused(make: Make) -> None:
    folder = make()
    with pytest.raises(UserError, match="given twice"):
        open_results([folder, folder])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: nothing is there, not a results folder"):
        open_results([tmp_path / "nowhere"])


def test_an_empty_folder_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder is empty"):
        open_results([tmp_path])


def test_a_newer_schema_names_both_versions(make: Make) -> None:
    folder = make()
    config = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(config | {"schema_version": 99}))
    with pytest.raises(UserError, match=r"results schema 99 is newer .* \(up to 3\); upgrade"):
        Results.open(folder)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"a": 1, "a": 2}', '{"a": NaN}'])
def test_a_run_json_that_is_no_json_is_refused(make: Make, text: str) -> None:
    folder = make()
    (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: not a usable JSON file"):
        Results.open(folder)


def test_a_run_json_without_a_version_is_refused(make: Make) -> None:
    folder = make()
    (folder / "run.json").write_text("{}")
    with pytest.raises(UserError, match="schema_version is None"):
        Results.open(folder)


def test_a_setting_that_was_edited_is_noticed(make: Make) -> None:
    folder = make()
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"analytic"', '"command"'))
    with pytest.raises(UserError, match=r"run\.json: the file was altered"):
        Results.open(folder)


def test_a_version_that_was_turned_back_does_not_break_the_seal(make: Make) -> None:
    folder = make()
    config = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(config | {"schema_version": 1}))
    with pytest.raises(UserError, match=r"run\.json: the file was altered"):
        Results.open(folder)


def test_run_json_may_be_written_anew_with_the_same_content(make: Make) -> None:
    folder = make()
    config = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(config, sort_keys=True))
    assert Results.open(folder).warnings == ()


@pytest.mark.parametrize("table", ["steps", "layers", "channels", "points"])
def test_every_bit_of_every_table_is_sealed(make: Make, table: str) -> None:
    file = make() / f"{table}.parquet"
    content = bytearray(file.read_bytes())
    for place in range(0, len(content), max(1, len(content) // 20)):
        content[place] ^= 16
        file.write_bytes(content)
        with pytest.raises(UserError, match=rf"{table}\.parquet: the file was altered"):
            Results.open(file.parent)
        content[place] ^= 16


def test_a_missing_table_means_incomplete_results(make: Make) -> None:
    folder = make()
    (folder / "steps.parquet").unlink()
    with pytest.raises(UserError, match="missing, the results are incomplete"):
        Results.open(folder)


def test_selections_that_were_not_kept_are_told_from_lost_ones(make: Make) -> None:
    with pytest.raises(UserError, match="did not keep its selections"):
        Results.open(make()).table("selections")


def test_an_older_folder_opens_with_a_warning(make_old: Make) -> None:
    unsealed, charged = Results.open(make_old()).warnings
    assert "made by an older version, without checksums" in unsealed
    assert "latency is of attention alone" in charged


@pytest.mark.parametrize("command", ["report", "compare"])
def test_the_warning_reaches_whoever_reads_the_numbers(
    make_old: Make, tmp_path: Path, command: str
) -> None:
    out = ["--out", str(tmp_path / "page.html")] if command == "report" else []
    result = CliRunner().invoke(app, [command, str(make_old()), *out])
    assert result.exit_code == 0, result.output
    assert "warning: " in result.stderr
    assert "without checksums" in result.stderr
    if command == "report":
        assert "without checksums" in (tmp_path / "page.html").read_text()


def test_what_an_older_version_did_not_measure_is_unknown(make_old: Make) -> None:
    file = make_old() / "steps.parquet"
    pl.read_parquet(file).drop("dense_blocks").write_parquet(file)
    assert Results.open(file.parent).table("steps")["dense_blocks"].null_count() == 5 * 3 * 2 * 16


@pytest.fixture
def without_charges(make: Make, reseal: Callable[..., None]) -> Path:
    """Return results as schema 2 was: latencies of layers are of attention alone."""
    folder = make()
    layers = pl.read_parquet(folder / "layers.parquet")
    layers = layers.drop(pl.selectors.starts_with("latency_with"))
    steps = pl.read_parquet(folder / "steps.parquet").drop("value_blocks")
    reseal(folder, version=2, layers=layers, steps=steps)
    return folder


def test_results_without_latencies_with_overheads_are_read_for_attention(
    without_charges: Path, tmp_path: Path
) -> None:
    (warning,) = Results.open(without_charges).warnings
    assert "latency is of attention alone, replay for all of it" in warning
    printed = CliRunner().invoke(app, ["compare", str(without_charges)])
    assert printed.exit_code == 0, printed.output
    assert "A decode step, attention alone: " in printed.output
    assert "0.25\u00d7" in printed.output
    asked = CliRunner().invoke(app, ["compare", str(without_charges), "--cost", "all"])
    assert "0.25\u00d7" not in asked.output.split("Energy")[0]
    out = tmp_path / "page.html"
    made = CliRunner().invoke(app, ["report", str(without_charges), "--out", str(out)])
    assert made.exit_code == 0, made.output
    page = out.read_text()
    assert '<option value="attention" selected>' in page
    assert "the latency of a decode step is not known all overheads included" in page
    assert warning.rsplit(": ", 1)[-1] in page


def test_results_that_should_have_them_and_do_not_are_refused(
    make: Make, reseal: Callable[..., None]
) -> None:
    folder = make()
    layers = pl.read_parquet(folder / "layers.parquet")
    reseal(folder, layers=layers.drop("latency_with_overheads_ns"))
    with pytest.raises(UserError, match="no column latency_with_overheads_ns; replay again"):
        Results.open(folder)


def test_a_truncated_table_is_named(make_old: Make) -> None:
    file = make_old() / "steps.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"steps\.parquet: damaged, it cannot be read"):
        Results.open(file.parent)


def test_pages_damaged_behind_an_intact_footer_are_named(make: Make, make_old: Make) -> None:
    from analysis.dashboard.serving import load

    whole, damaged = make("whole"), make_old(name="damaged")
    file = damaged / "steps.parquet"
    content = bytearray(file.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged: damaged, it cannot be read \(.+\)"):
        Results.open(damaged)
    table, problems = load([str(whole), str(damaged)])
    assert table is not None
    assert [run.name for run in table.runs] == ["whole"]
    assert len(problems) == 1


STEP = pl.col("step")
HARM: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "no rows": ("steps", pl.DataFrame.clear, "rows of .* are missing or repeated"),
    "half the rows": (
        "steps",
        lambda rows: rows.head(len(rows) // 2),
        "rows of .* are missing or repeated",
    ),
    "a step of one KV head": (
        "steps",
        lambda rows: rows.slice(1),
        "rows of .* are missing or repeated",
    ),
    "a step twice": (
        "steps",
        lambda rows: pl.concat([rows, rows[5:6]]),
        "rows of .* are missing or repeated",
    ),
    "a step instead of another": (
        "steps",
        lambda rows: pl.concat([rows[:5], rows[4:5], rows[6:]]),
        "rows of .* are missing or repeated",
    ),
    "one KV head": (
        "steps",
        lambda rows: rows.filter((pl.col("policy") != "topk") | (pl.col("kv_head") == 0)),
        "rows of .*topk.* are missing or repeated",
    ),
    "a layer": (
        "layers",
        lambda rows: rows.filter(pl.col("layer") != 1),
        "rows of .* are missing or repeated",
    ),
    "the last step": (
        "layers",
        lambda rows: rows.filter(STEP != 15),
        "rows of .* are missing or repeated",
    ),
    "a lane": ("channels", lambda rows: rows.slice(1), "rows of .* are missing or repeated"),
    "a point": ("points", lambda rows: rows.slice(1), "holds 4 points where 1 traces x 5"),
    "a point twice": (
        "points",
        lambda rows: pl.concat([rows[1:], rows[1:2]]),
        "holds a point twice",
    ),
    "a failed point with results": (
        "points",
        lambda rows: rows.with_columns(status=pl.lit("failed")),
        "holds rows of 5 points that points.parquet does not call ok",
    ),
    "negative": (
        "steps",
        lambda rows: rows.with_columns(-pl.col("energy_pj")),
        "column energy_pj holds a negative value",
    ),
    "infinite": (
        "layers",
        lambda rows: rows.with_columns(latency_ns=pl.lit(float("inf"))),
        "column latency_ns holds a value that is not finite",
    ),
    "not a number": (
        "steps",
        lambda rows: rows.with_columns(attention_mass_ratio=pl.lit(float("nan"))),
        "column attention_mass_ratio holds a value that is not finite",
    ),
    "a share above 1": (
        "steps",
        lambda rows: rows.with_columns(attention_mass_ratio=pl.lit(1.01)),
        "column attention_mass_ratio holds a share above 1",
    ),
    "a layer without number": (
        "steps",
        lambda rows: rows.with_columns(layer=pl.lit(None, pl.Int32)),
        "column layer holds a null",
    ),
    "a missing column": ("steps", lambda rows: rows.drop("energy_pj"), "no column energy_pj"),
    "words": (
        "steps",
        lambda rows: rows.with_columns(latency_ns=pl.lit("fast")),
        "column latency_ns holds String, not Float64",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_tables_that_cannot_be_of_this_run_are_refused_whatever_their_seal(
    make: Make, reseal: Callable[..., None], harm: str
) -> None:
    table, change, sentence = HARM[harm]
    folder = make()
    reseal(folder, **{table: change(pl.read_parquet(folder / f"{table}.parquet"))})
    with pytest.raises(UserError, match=rf"\.parquet: {sentence}"):
        Results.open(folder)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "traces": ({"traces": {}}, "traces is not a list"),
    "a trace": ({"traces": [7]}, r"traces\[0\] is not an object"),
    "hardware": ({"hardware": None}, "hardware is not a list"),
    "assumed": (
        {"hardware": [{"name": "x", "assumed": "no", "values": {}, "geometry": {}}]},
        r"hardware\[0\].assumed is not a list",
    ),
    "configuration": ({"configuration": []}, "configuration is not an object"),
    "versions": ({"versions": "1"}, "versions is not an object"),
}


@pytest.mark.parametrize("key", WRONG)
def test_wrong_types_in_run_json_are_named_with_their_place(make_old: Make, key: str) -> None:
    changes, sentence = WRONG[key]
    folder = make_old()
    config = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=f"run.json: {sentence}"):
        Results.open(folder)


@pytest.mark.parametrize("value", [-1, 0.5, True, "1", None, [1]])
def test_a_count_in_run_json_is_a_whole_number(make_old: Make, value: object) -> None:
    folder = make_old()
    config = json.loads((folder / "run.json").read_text())
    config["traces"][0]["kv_heads"] = value
    (folder / "run.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"traces\[0\].kv_heads is not a whole number"):
        Results.open(folder)


def test_results_of_failed_points_alone_have_nothing_to_show(
    make: Make, reseal: Callable[..., None]
) -> None:
    folder = make()
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    points = tables.pop("points").with_columns(status=pl.lit("failed"))
    reseal(folder, points=points, **{name: rows.clear() for name, rows in tables.items()})
    with pytest.raises(UserError, match="holds no rows, nothing was replayed"):
        tidy(open_results([folder]))
