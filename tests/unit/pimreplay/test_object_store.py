"""Results and cached parts on a file system that cannot rename folders: an object store's rules."""

import json

import pytest
from pyarrow import fs

from pimreplay.results import reader, writer
from pimreplay.results.reader import Results
from pimreplay.results.writer import ResultsWriter
from pimreplay.study import cache
from pimreplay.study.cache import PartCache
from pimreplay.study.dispatch import work
from pimreplay.study.jobs import make_jobs, units_of
from pimreplay.study.parts import finish
from pimreplay.study.runs import RunRequest, plan_run
from pimreplay.study.tables import write_results
from pimreplay.study.workers import InlineCrew
from tracegen.base import folder as folders
from tracegen.base.errors import UserError


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Return a folder that pyarrow sees as something else than a local disk."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    system = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())

    def file_system(where):
        return system, str(where).removeprefix("store://")

    for module in (reader, writer, cache, folders):
        monkeypatch.setattr(module, "file_system", file_system)
    return folder


def test_results_are_copied_with_run_json_last(bucket):
    with ResultsWriter("store://study/one") as writer:
        writer.finish({"kind": "run"})
    assert json.loads((bucket / "study" / "one" / "run.json").read_text())["kind"] == "run"
    assert not [path for path in bucket.rglob("*") if "partial" in path.name]
    with pytest.raises(UserError, match="exists already"):
        ResultsWriter("store://study/one")


def test_a_folder_whose_copy_was_cut_short_is_no_results_folder(bucket):
    with ResultsWriter("store://cut") as writer:
        writer.finish({})
    (bucket / "cut" / "run.json").unlink()
    with pytest.raises(UserError, match="not a finished results folder"):
        Results.open("store://cut")


def test_parts_are_kept_and_found_again(bucket, tiny_trace):
    points, settings = plan_run(RunRequest(tiny_trace.where, ("topk",), "8"))
    cache = PartCache("store://sweep", points, settings)
    units = list(units_of(0, points[0], settings))
    assert not any(cache.has(unit) for unit in units)
    with cache.lock():
        jobs = make_jobs(points, settings, cache.has)
        assert work(jobs, InlineCrew(finish), cache, lambda count: None) == {}
    again = PartCache("store://sweep", points, settings)
    assert all(again.has(unit) for unit in units)
    with ResultsWriter("store://sweep", replace=True) as writer:
        write_results(writer, points, settings, again, {}, {})
    assert Results.open("store://sweep").table("steps").height == 2 * 2 * 8


def test_a_folder_of_something_else_is_refused(bucket, tiny_trace):
    (bucket / "other").mkdir()
    (bucket / "other" / "thing.txt").write_text("mine")
    points, settings = plan_run(RunRequest(tiny_trace.where, ("topk",), "8"))
    with pytest.raises(UserError, match="is not a sweep's folder"):
        PartCache("store://other", points, settings)
