"""The results folder: complete or absent, and read with clear errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from pimreplay.results.reader import Results
from pimreplay.results.schema import CONFIGURATION, SCHEMAS, schema_lines
from pimreplay.results.writer import ResultsWriter
from tracegen.base.errors import UserError

NAMES = dict.fromkeys(CONFIGURATION, "x")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    with ResultsWriter(path) as writer:
        writer.write("points", {"point": ["p"], **NAMES, "status": "ok", "error": None})
        writer.finish({"kind": "run"})
    return path


def test_a_scalar_fills_its_column_and_an_absent_column_is_null(folder):
    table = Results.open(folder).table("points")
    assert table.to_dicts() == [{"point": "p", **NAMES, "status": "ok", "error": None}]


def test_lists_keep_their_rows(tmp_path):
    with ResultsWriter(tmp_path / "results") as writer:
        lanes = np.arange(6, dtype=np.int32).reshape(2, 3)
        writer.write("steps", {**NAMES, "step": np.array([0, 1]), "lane_tokens": lanes})
        writer.finish({})
    table = Results.open(tmp_path / "results").table("steps")
    assert table["lane_tokens"].to_list() == [[0, 1, 2], [3, 4, 5]]


def test_a_failure_inside_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), ResultsWriter(tmp_path / "results") as writer:
        writer.write("points", {"point": ["p"]})
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_writer_leaves_nothing(tmp_path):
    with ResultsWriter(tmp_path / "results") as writer:
        writer.write("points", {"point": ["p"]})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused(folder):
    with pytest.raises(UserError, match="exists already, nothing was overwritten"):
        ResultsWriter(folder)


def test_replacing_writes_the_tables_anew_and_keeps_other_files(folder):
    (folder / "cache").mkdir()
    with ResultsWriter(folder, replace=True) as writer:
        writer.finish({"kind": "sweep"})
    assert Results.open(folder).config["kind"] == "sweep"
    assert Results.open(folder).table("points").height == 0
    assert (folder / "cache").is_dir()


def test_a_column_outside_the_schema_is_our_mistake(tmp_path):
    with (
        pytest.raises(ValueError, match="no such columns"),
        ResultsWriter(tmp_path / "results") as writer,
    ):
        writer.write("points", {"point": ["p"], "wrong": [1]})


def damage(folder: Path, how: str) -> None:
    run = folder / "run.json"
    if how == "no run.json":
        run.unlink()
    elif how == "no JSON":
        run.write_text("{")
    elif how == "no version":
        run.write_text("{}")
    elif how == "newer":
        run.write_text(json.dumps({"schema_version": 99}))
    elif how == "no table":
        (folder / "points.parquet").unlink()
    elif how == "cut table":
        (folder / "points.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no run.json", "not a finished results folder, it holds no run.json"),
        ("no JSON", r"not readable as JSON \(.+\); replay again"),
        ("no version", "schema_version is None, not a whole number"),
        ("newer", "results schema 99 is newer than this version reads"),
        ("no table", "points.parquet: missing, the results are incomplete"),
        ("cut table", "points.parquet: not readable as Parquet"),
    ],
)
def test_a_damaged_folder_is_named_with_its_damage(folder, how, sentence):
    damage(folder, how)
    with pytest.raises(UserError, match=sentence):
        Results.open(folder).table("points")


def test_the_documentation_lists_every_column_with_its_type():
    text = (Path(__file__).parents[3] / "docs" / "results_format.md").read_text()
    described = text.replace(" ", "")
    for table, column, kind in schema_lines():
        if column in CONFIGURATION and table != "steps":
            continue  # described once, as the configuration
        section = described.split(f"##{table}.parquet")[1].split("\n##")[0]
        assert f"|{column}|{kind.replace(' ', '')}|" in section, f"{table}: {column} {kind}"


def test_every_table_starts_with_the_configuration():
    for name in ("steps", "layers", "channels", "selections"):
        assert SCHEMAS[name].names[: len(CONFIGURATION)] == list(CONFIGURATION)
