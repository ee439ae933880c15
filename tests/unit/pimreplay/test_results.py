"""The results folder: complete or absent, sealed, and replaced without a moment of neither."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pimreplay.results import publishing
from pimreplay.results.reader import Results
from pimreplay.results.schema import CONFIGURATION, SCHEMAS, schema_lines
from pimreplay.results.writer import ResultsWriter
from tracegen.base.errors import UserError

KEY = dict.fromkeys(CONFIGURATION, "x")
RUN = {
    "traces": [
        {
            **dict.fromkeys(("path", "hash", "kind", "model"), ""),
            "name": "x",
            "layers": [0],
            "kv_heads": 1,
            "decode_steps": 2,
        }
    ],
    "configuration": {
        "policies": [{"policy": "x", "parameters": "x", "layout": "x"}],
        "budgets": ["x"],
        "hardware": ["x"],
        "dense_layers": 0,
        "fidelity": "analytic",
        "layers": None,
        "seed": 0,
    },
    "hardware": [],
    "versions": {},
}


def write(path, energy_pj=1.0, replace=False, selections=False):
    """Write one point of one KV head and two steps."""
    with ResultsWriter(path, replace=replace) as writer:
        here = {**KEY, "dense_layer": False, "layer": 0}
        step = np.array([0, 1])
        lanes = np.arange(6, dtype=np.int32).reshape(2, 3)
        measured = {"energy_pj": energy_pj, "lane_tokens": lanes}
        writer.write("points", {"point": ["p"], **KEY, "status": "ok", "error": None})
        writer.write("steps", {**here, "kv_head": 0, "step": step, **measured})
        writer.write("layers", {**here, "step": step, "energy_pj": energy_pj})
        writer.write("channels", {**here, "channel": 0, "lane": np.array([0]), "tokens": 1})
        if selections:
            writer.write("selections", {**KEY, "layer": 0, "selected": [b"1"], "blocks": [b"1"]})
        writer.finish(RUN)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    write(path)
    return path


def test_a_scalar_fills_its_column_and_an_absent_column_is_null(folder):
    steps = Results.open(folder).table("steps")
    assert steps["energy_pj"].to_list() == [1.0, 1.0]
    assert steps["latency_ns"].to_list() == [None, None]


def test_lists_keep_their_rows(folder):
    steps = Results.open(folder).table("steps")
    assert steps["lane_tokens"].to_list() == [[0, 1, 2], [3, 4, 5]]


def test_a_failure_inside_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), ResultsWriter(tmp_path / "results") as writer:
        writer.write("points", {"point": ["p"]})
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_writer_leaves_nothing(tmp_path):
    with ResultsWriter(tmp_path / "results") as writer:
        writer.write("points", {"point": ["p"]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, replace):
    dead = tmp_path / ".results.partial-0123abcd"
    dead.mkdir()
    (dead / "steps.parquet").write_bytes(b"half")
    (tmp_path / ".results.partial-0123abcd.lock").touch()
    write(tmp_path / "results", replace=replace)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_an_existing_folder_is_refused(folder):
    with pytest.raises(UserError, match="exists already, nothing was overwritten"):
        ResultsWriter(folder)


def test_a_column_outside_the_schema_is_our_mistake(tmp_path):
    with (
        pytest.raises(ValueError, match="no such columns"),
        ResultsWriter(tmp_path / "results") as writer,
    ):
        writer.write("points", {"point": ["p"], "wrong": [1]})


def test_run_json_states_the_rows_and_the_sha256_of_every_table(folder):
    tables = json.loads((folder / "run.json").read_text())["tables"]
    assert {name: one["rows"] for name, one in tables.items()} == {
        "points": 1,
        "steps": 2,
        "layers": 2,
        "channels": 1,
    }
    for name, one in tables.items():
        content = (folder / f"{name}.parquet").read_bytes()
        assert sha256(content).hexdigest() == one["sha256"]


def test_replacing_writes_the_tables_anew_and_keeps_other_files(folder):
    (folder / "cache").mkdir()
    write(folder, energy_pj=2.0, replace=True)
    assert Results.open(folder).table("layers")["energy_pj"].to_list() == [2.0, 2.0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache",
        "channels.parquet",
        "layers.parquet",
        "points.parquet",
        "run.json",
        "steps.parquet",
    ]


def test_a_table_that_the_new_results_lack_goes(folder):
    write(folder, replace=True, selections=True)
    assert Results.open(folder).table("selections").height == 1
    write(folder, replace=True)
    assert not (folder / "selections.parquet").exists()


class Killed(BaseException):
    """A process that ended; nothing of it is left to clean up."""


def killed_after(changes, monkeypatch):
    """Let the switch from old to new end after so many changes on the disk."""
    left = [changes]

    def mortal(change):
        def changed(*arguments):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return change(*arguments)

        return changed

    for name in ("_put", "_rename", "_delete"):
        monkeypatch.setattr(publishing, name, mortal(getattr(publishing, name)))


@pytest.mark.parametrize("changes", range(14))
def test_a_writer_killed_at_any_moment_leaves_the_old_results_or_the_new(
    folder, changes, monkeypatch
):
    with monkeypatch.context() as killing:
        killed_after(changes, killing)
        try:
            write(folder, energy_pj=2.0, replace=True)
            finished = True
        except Killed:
            finished = False
    found = Results.open(folder)
    (energy_pj,) = set(found.table("layers")["energy_pj"])
    assert energy_pj == (2.0 if changes >= 5 else 1.0)
    assert set(found.table("steps")["energy_pj"]) == {energy_pj}
    assert finished == (changes >= 9)
    write(folder, energy_pj=3.0, replace=True)
    assert set(Results.open(folder).table("steps")["energy_pj"]) == {3.0}
    assert not list(folder.glob("*.next"))


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


def test_a_panic_of_the_parquet_reader_is_a_sentence(folder, monkeypatch):
    def panic(self, **_):
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    with pytest.raises(UserError, match=r"damaged, it cannot be read \(index out of bounds\)"):
        Results.open(folder)
