"""Cached parts: every byte is sealed, a file is taken for no other part than its own."""

import shutil
from pathlib import Path

import pytest

from pimreplay.study.cache import PartCache
from pimreplay.study.dispatch import work
from pimreplay.study.jobs import make_jobs, units_of
from pimreplay.study.parts import finish
from pimreplay.study.runs import RunRequest, plan_run
from pimreplay.study.workers import InlineCrew
from tracegen.base.errors import UserError


@pytest.fixture(scope="module")
def study(tiny_trace, tmp_path_factory):
    """Return the points and settings of a finished study, and its folder."""
    points, settings = plan_run(RunRequest(tiny_trace.where, ("topk", "quest"), "8"))
    out = tmp_path_factory.mktemp("study") / "out"
    cache = PartCache(str(out), points, settings)
    work(make_jobs(points, settings, cache.has), InlineCrew(finish), cache, lambda count: None)
    return points, settings, out


@pytest.fixture
def damaged(study, tmp_path):
    """Return a function that copies the folder, changes one file by `harm` and opens the copy."""
    points, settings, out = study

    def opened(harm):
        shutil.copytree(out, tmp_path / "out")
        files = sorted((tmp_path / "out" / "cache").rglob("*.part"))
        harm(files)
        cache = PartCache(str(tmp_path / "out"), points, settings)
        units = [u for number, one in enumerate(points) for u in units_of(number, one, settings)]
        return cache, units

    return opened


def flip(place):
    def harm(files: list[Path]) -> None:
        content = bytearray(files[0].read_bytes())
        content[place if place >= 0 else len(content) + place] ^= 1
        files[0].write_bytes(content)

    return harm


HARM = {
    "the seal": flip(0),
    "the key": flip(40),
    "the header": flip(130),
    "the type of an array": lambda files: files[0].write_bytes(
        files[0].read_bytes().replace(b"<f8", b">f8")
    ),
    "the body": flip(-5),
    "a cut": lambda files: files[0].write_bytes(files[0].read_bytes()[:-9]),
    "another part's file": lambda files: shutil.copyfile(files[1], files[0]),
    "words": lambda files: files[0].write_text("nothing of the kind"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_the_part_that_was_written_is_computed_again(damaged, harm):
    cache, units = damaged(HARM[harm])
    assert all(cache.has(unit) for unit in units)
    assert cache.drop_damaged(units) == 1
    assert sum(cache.has(unit) for unit in units) == len(units) - 1
    assert cache.drop_damaged(units) == 0


def test_whole_parts_are_kept(damaged):
    cache, units = damaged(lambda files: None)
    assert cache.drop_damaged(units) == 0
    assert all(cache.has(unit) for unit in units)


def test_a_part_damaged_while_the_sweep_runs_is_removed_with_a_sentence(damaged):
    cache, units = damaged(flip(200))
    with pytest.raises(UserError, match="the cached part was damaged and has been removed"):
        for unit in units:
            cache.get(unit)
    assert cache.drop_damaged(units) == 0


def test_a_second_sweep_is_kept_out(damaged, study):
    cache, _ = damaged(lambda files: None)
    points, settings, _ = study
    other = PartCache(cache._root.removesuffix("/cache"), points, settings)
    busy = pytest.raises(UserError, match="another sweep is writing here")
    with cache.lock(), busy, other.lock():
        pass
    with other.lock():
        pass
