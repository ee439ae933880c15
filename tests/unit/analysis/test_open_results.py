import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis.results.tidying import tidy
from pimreplay.results.reader import Results, open_results
from tracegen.base.errors import UserError

Make = Callable[..., Path]


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
    with pytest.raises(UserError, match=r"results schema 99 is newer .* \(up to 1\); upgrade"):
        open_results([folder])


def test_a_run_json_that_is_no_json_is_refused(make: Make) -> None:
    folder = make()
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        open_results([folder])


def test_a_run_json_without_a_version_is_refused(make: Make) -> None:
    folder = make()
    (folder / "run.json").write_text("{}")
    with pytest.raises(UserError, match="schema_version is None"):
        open_results([folder])


def test_a_truncated_table_is_named(make: Make) -> None:
    folder = make()
    content = (folder / "steps.parquet").read_bytes()
    (folder / "steps.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"steps\.parquet: not readable as Parquet"):
        open_results([folder])


def test_a_missing_table_means_incomplete_results(make: Make) -> None:
    folder = make()
    (folder / "steps.parquet").unlink()
    with pytest.raises(UserError, match="missing, the results are incomplete"):
        open_results([folder])


def test_a_missing_column_is_named(make: Make) -> None:
    folder = make()
    steps = pl.read_parquet(folder / "steps.parquet").drop("energy_pj")
    steps.write_parquet(folder / "steps.parquet")
    with pytest.raises(UserError, match="no column energy_pj"):
        open_results([folder])


def test_results_without_rows_are_refused(make: Make) -> None:
    folder = make()
    pl.read_parquet(folder / "steps.parquet").clear().write_parquet(folder / "steps.parquet")
    with pytest.raises(UserError, match="holds no rows, nothing was replayed"):
        tidy(open_results([folder]))


def test_pages_damaged_behind_an_intact_footer_are_named(make: Make) -> None:
    from analysis.dashboard.serving import load

    whole, damaged = make("whole"), make("damaged")
    file = damaged / "steps.parquet"
    content = bytearray(file.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged: damaged, it cannot be read \(.+\)"):
        tidy(open_results([damaged]))
    table, problems = load([str(whole), str(damaged)])
    assert table is not None
    assert [run.name for run in table.runs] == ["whole"]
    assert len(problems) == 1


def test_a_column_of_words_where_numbers_belong_is_named(make: Make) -> None:
    folder = make()
    steps = pl.read_parquet(folder / "steps.parquet")
    steps.with_columns(latency_ns=pl.lit("fast")).write_parquet(folder / "steps.parquet")
    with pytest.raises(UserError, match="column latency_ns holds String, not Float64"):
        Results.open(folder)
