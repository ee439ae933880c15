"""JSON and TOML are read strictly: one sentence with the place, whatever is wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracegen.base.documents import parse_json, parse_toml, read_json, read_toml
from tracegen.base.errors import UserError


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b"[]", "it holds a list and not an object"),
        (b"3", "it holds a single value"),
        (b'{"a": 1, "a": 2}', "key 'a' is given twice"),
        (b'{"a": {"b": 1, "b": 1}}', "key 'b' is given twice"),
        (b'{"a": NaN}', "NaN is not a number that JSON knows"),
        (b'{"a": -Infinity}', "-Infinity is not a number that JSON knows"),
        (b'{"a": [0, 1e999]}', "a[1] is inf, not a finite number"),
        (b'{"a": {"b": 9223372036854775808}}', "a.b is a number beyond 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8 text"),
        (b'{"a": "\\ud800"}', "a holds text that cannot be stored"),
        (b'{"a": "\\u0000"}', "a holds text that cannot be stored"),
        (b'{"a": "\\u001b[2J"}', "a holds text that cannot be stored"),
        (b'{"a\\u0007": 1}', "key 'a\\x07' holds text that cannot be stored"),
        (b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}", "nested deeper than 32 levels"),
        (b"[" * 100_000, "nested deeper than 32 levels"),
    ],
)
def test_json_that_is_not_usable_is_refused_with_its_place(data: bytes, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_json(data, "x.json")
    text = str(refused.value)
    assert text.startswith("x.json: not a usable JSON file: ") and text.endswith("correct the file")
    assert reason in text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a = x\n", "at line 1, column 5"),
        (b"a = 1\na = 2", "Cannot overwrite a value"),
        (b"a = inf", "a is inf, not a finite number"),
        (b"a = nan", "a is nan, not a finite number"),
        (b"a = 1e999", "a is inf, not a finite number"),
        (b"a = " + b"[" * 100_000, "nested deeper than 32 levels"),
        (b"a" + b".a" * 1000 + b" = 1", "nested deeper than 32 levels"),
        ("a = 1".encode("utf-16"), "byte 0 is not UTF-8 text"),
    ],
)
def test_toml_that_is_not_usable_is_refused_with_its_place(data: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=r"^x\.toml: not a usable TOML file: ") as refused:
        parse_toml(data, "x.toml")
    assert reason in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_json(tmp_path / "a.json") == read_toml(tmp_path / "a.toml") == {"a": 1}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.toml: no such file; give the path of a TOML file"):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(UserError, match="is a folder; give the path of a JSON file"):
        read_json(tmp_path)
    (tmp_path / "b").write_text("")
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path / "b/a.json")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="larger than 64 MiB"):
        read_json(tmp_path / "a.json")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc"), VALUES, max_size=4))
def test_what_a_program_writes_is_read_back(value: dict) -> None:
    assert parse_json(json.dumps(value).encode(), "x.json") == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(), "x.json") == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_json, parse_toml):
        try:
            assert isinstance(parse(data, "x"), dict)
        except UserError as error:
            assert "\n" not in str(error)
