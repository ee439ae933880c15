"""A folder or file appears whole or not at all, and a death in between is mended."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracegen.base import folder
from tracegen.base.errors import UserError
from tracegen.base.folder import new_folder, refuse_existing, write_file


def make(target: Path, text: str, overwrite: bool = False) -> None:
    with new_folder(target, overwrite=overwrite, marker="mark") as path:
        (path / "mark").write_text(text)


def held(where: Path) -> list[str]:
    return sorted(one.name for one in where.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the system's exchange of folders, and without one."""
    if request.param == "two renames":
        monkeypatch.setattr(folder, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("way")
def test_overwriting_leaves_only_the_new(tmp_path: Path) -> None:
    make(tmp_path / "t", "old")
    make(tmp_path / "t", "new", overwrite=True)
    assert ((tmp_path / "t/mark").read_text(), held(tmp_path)) == ("new", ["t"])


def test_linux_exchanges_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "a/x").mkdir(parents=True)
    (tmp_path / "b/y").mkdir(parents=True)
    if sys.platform == "linux":
        assert folder._exchange(tmp_path / "a", tmp_path / "b")
        assert (held(tmp_path / "a"), held(tmp_path / "b")) == (["y"], ["x"])


@pytest.mark.usefixtures("way")
def test_a_failing_block_leaves_the_old(tmp_path: Path) -> None:
    make(tmp_path / "t", "old")
    with (
        pytest.raises(RuntimeError),
        new_folder(tmp_path / "t", overwrite=True, marker="mark") as path,
    ):
        (path / "mark").write_text("new")
        raise RuntimeError
    assert ((tmp_path / "t/mark").read_text(), held(tmp_path)) == ("old", ["t"])


DIES = """
import os, signal, sys
from pathlib import Path
from tracegen.base import folder
calls = 0
def dying(original):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)
    return call
if sys.argv[3] == "two renames":
    folder._exchange = lambda one, other: False
for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "unlink"), (folder, "_exchange"),
                    (folder.shutil, "rmtree"), (folder, "sync"), (folder, "_put")):
    setattr(owner, name, dying(getattr(owner, name)))
with folder.new_folder(sys.argv[1], overwrite=True, marker="mark") as path:
    (path / "mark").write_text("new")
"""


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_a_death_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, how: str) -> None:
    endings = set()
    for step in range(1, 40):
        place = tmp_path / str(step)
        place.mkdir()
        make(place / "t", "old")
        done = subprocess.run(
            [sys.executable, "-c", DIES, place / "t", str(step), how], check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        if how == "exchange":
            assert (place / "t/mark").read_text() in ("old", "new")
        refuse_existing(place / "t", overwrite=True, marker="mark")  # as any next start does
        assert held(place) == ["t"]
        endings.add((place / "t/mark").read_text())
    assert (done.returncode, endings) == (0, {"old", "new"})


def test_what_a_living_owner_writes_is_left_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path / "t", marker="mark") as path:
        (path / "mark").write_text("first")
        make(tmp_path / "t", "second")
        assert (path / "mark").read_text() == "first"
        (tmp_path / "t/mark").unlink()
        (tmp_path / "t").rmdir()
    assert (tmp_path / "t/mark").read_text() == "first"


def test_a_folder_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="exists already, nothing was overwritten"),
        new_folder(tmp_path / "t", marker="mark") as path,
    ):
        (path / "mark").write_text("first")
        make(tmp_path / "t", "second")
    assert ((tmp_path / "t/mark").read_text(), held(tmp_path)) == ("second", ["t"])


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    make(tmp_path / "t", "old")
    (tmp_path / "link").symlink_to("t")
    make(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "t/mark").read_text() == "new"


def test_a_file_replaces_an_older_one_when_it_is_complete(tmp_path: Path) -> None:
    write_file(tmp_path / "a/x.html", "old")
    write_file(tmp_path / "a/x.html", "new")
    assert ((tmp_path / "a/x.html").read_text(), held(tmp_path / "a")) == ("new", ["x.html"])
    (tmp_path / "a/.x.html.partial-1234.lock").touch()
    (tmp_path / "a/.x.html.partial-1234").write_text("from a killed run")
    refuse_existing(tmp_path / "a/x.html", overwrite=True)
    assert held(tmp_path / "a") == ["x.html"]


def test_a_target_that_cannot_be_made_is_refused_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    for target, marker, reason in [
        ("../file/x", "mark", "file is a file, not a folder"),
        ("../file/x", None, "file is a file, not a folder"),
        ("../file", "mark", "exists and is a file; name a folder"),
        ("../folder", None, "exists and is a folder; name a file"),
        (".", "mark", "is the folder you are in"),
        ("..", "mark", "is the folder you are in, or holds it"),
    ]:
        with pytest.raises(UserError) as refused:
            refuse_existing(target, overwrite=True, marker=marker)
        assert reason in str(refused.value)


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds no mark"):
        make(tmp_path / "t", "new", overwrite=True)
    assert held(tmp_path / "t") == ["thesis.tex"]


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nobody can make a file")
def test_where_no_file_can_be_made_nothing_is_waited_for() -> None:
    code = "from tracegen.base.folder import write_file; write_file('/proc/x', '')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/proc/.x." in done.stderr
