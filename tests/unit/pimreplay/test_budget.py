import pytest
import torch

from pimreplay.selection.budget import Budget
from tracegen.base.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("64", [64, 64, 64]), ("0.1", [1, 10, 409]), ("10%", [1, 10, 409]), ("1.0", [9, 100, 4099])],
)
def test_tokens_of_each_step(text: str, expected: list[int]) -> None:
    assert Budget.parse(text).tokens(torch.tensor([9, 100, 4099])).tolist() == expected


def test_a_ratio_that_is_a_whole_number_of_tokens_loses_none_to_rounding() -> None:
    assert Budget.parse("0.1").tokens(torch.tensor([4100])).tolist() == [410]


@pytest.mark.parametrize("text", ["0", "-3", "0.0", "0%", "1.5", "150%", "many", "", "1e3", "1 k"])
def test_nonsense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"^budget: .*give"):
        Budget.parse(text)


def test_a_budget_beyond_the_context_is_refused_where_asked() -> None:
    Budget.parse("100").check(100)
    with pytest.raises(UserError, match="101 tokens are beyond the context of 100 tokens"):
        Budget.parse("101").check(100)
    Budget.parse("100%").check(1)


@pytest.mark.parametrize("text", ["1024", "0.25"])
def test_printing_a_budget_gives_what_was_parsed(text: str) -> None:
    assert Budget.parse(str(Budget.parse(text))) == Budget.parse(text)
    assert str(Budget.parse(text)) == text
