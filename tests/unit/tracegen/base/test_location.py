"""Paths and URLs are checked before anything is read or written there."""

from pathlib import Path

import pytest

from tracegen.base.errors import UserError
from tracegen.base.location import file_system, local_path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a path is empty"),
        ("a\0b", "holds a control character"),
        ("a\x1b[31mb", "holds a control character"),
        ("a" * 201, "the path is too long"),
        ("é" * 101, "the path is too long"),
        ("/".join(["a"] * 2001), "the path is too long"),
    ],
)
def test_a_path_that_no_disk_takes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        local_path(text)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 250 and str(refused.value).isprintable()


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"link: is a link to .*gone, which does not exist"):
        local_path(tmp_path / "link")


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "link")
    with pytest.raises(UserError, match="does not exist"):
        local_path(tmp_path / "link")


def test_links_and_dots_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert local_path(tmp_path / "link/../real") == (tmp_path / "real").resolve()


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match=r"known: .*s3.*; did you mean gs\?"):
        file_system("gss://bucket/x")


def test_a_place_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        @staticmethod
        def from_uri(uri: str) -> None:
            raise RuntimeError("no route\nto the host")

    monkeypatch.setattr("pyarrow.fs.FileSystem", Unreachable)
    with pytest.raises(UserError, match=r"^hf://datasets/a/b: cannot be reached \(no route\);"):
        file_system("hf://datasets/a/b")


def test_googles_client_is_told_to_give_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Unreachable:
        @staticmethod
        def from_uri(uri: str) -> None:
            asked.append(uri)
            raise OSError("unreachable")

    monkeypatch.setattr("pyarrow.fs.FileSystem", Unreachable)
    for url in ("gs://bucket/a", "gs://bucket/a?scheme=https"):
        with pytest.raises(UserError):
            file_system(url)
    assert asked == [
        "gs://bucket/a?retry_limit_seconds=5",
        "gs://bucket/a?scheme=https&retry_limit_seconds=5",
    ]
