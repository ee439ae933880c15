"""Numbers and ranges are read and written in one place, and never expanded beyond what exists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracegen.base.errors import UserError
from tracegen.base.numbers import chosen, parse_ranges, whole_number, within, write_ranges


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [(["3"], (3,)), (["0-2"], (0, 1, 2)), (["0,2", "5"], (0, 2, 5)), ([" 1 - 2 , 1"], (1, 2))],
)
def test_numbers_and_ranges_choose_among_the_known(texts: list[str], numbers: tuple) -> None:
    assert chosen(texts, range(6), "--layer") == numbers


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("7", "--layer 7: not there; known: 0-2, 4"),
        ("0-99999999999999999", "--layer 3: not there; known: 0-2, 4"),
        ("4-3", "'4-3' runs backwards"),
        ("", "'' is not a number or a range"),
        ("-1", "'-1' is not a number or a range"),
        ("1.5", "'1.5' is not a number or a range"),
        ("²", "is not a number or a range"),
        ("9" * 5000, "is not a number or a range"),
        ("0-99999999999999999999", "is not a number or a range"),
    ],
)
def test_what_names_no_known_number_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        chosen([text], [0, 1, 2, 4], "--layer")
    assert reason in str(refused.value) and len(str(refused.value)) < 200


def test_a_range_is_clipped_to_what_is_known() -> None:
    assert within(parse_ranges("0-999999999999,7"), [4, 2]) == (2, 4)


@given(st.sets(st.integers(0, 300)))
def test_written_numbers_are_read_back(numbers: set[int]) -> None:
    if numbers:
        assert chosen([write_ranges(numbers)], numbers, "--layer") == tuple(sorted(numbers))
    else:
        assert write_ranges(numbers) == ""


@pytest.mark.parametrize("text", ["²", "٣", "1e3", "-1", "+1", "", "9" * 5000, "1_000", "0x10"])
def test_only_plain_digits_are_a_whole_number(text: str) -> None:
    assert whole_number(text) is None


def test_a_whole_number_has_bounds() -> None:
    assert [whole_number("7", least, most) for least, most in ((7, 7), (8, 9), (0, 6))] == [
        7,
        None,
        None,
    ]
