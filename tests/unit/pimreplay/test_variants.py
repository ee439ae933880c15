import pytest

from pimreplay.layouts import load_layout
from pimreplay.policies import load_policy
from tracegen.base.errors import UserError


def test_parameters_are_read_by_their_types() -> None:
    policy = load_policy(" sparq : rank=8, local_ratio=0.5, reallocate=False ")
    assert (policy.rank, policy.local_ratio, policy.reallocate) == (8, 0.5, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stark", r"policy 'stark': unknown; known: .*; did you mean starc\?"),
        ("quest:page_token=8", r"policy quest: unknown parameter 'page_token'; known: gqa,.*"),
        ("quest:page_tokens=8.5", r"policy quest: page_tokens=8.5: give a whole number"),
        ("quest:page_tokens=0", r"quest: page_tokens=0 is too small; give at least 1"),
        ("quest:page_tokens", r"policy quest: 'page_tokens' is not a parameter; write param=value"),
        ("quest:page_tokens=8,page_tokens=9", r"policy quest: .* is given twice"),
        ("sparq:reallocate=maybe", r"policy sparq: reallocate=maybe: give true or false"),
        ("sparq:local_ratio=nan", r"sparq: local_ratio=nan is too small"),
        ("starc:preset=v2", r"policy starc: preset=v2: unknown value; known: artefact, v1"),
        (
            "topk:gqa=union_of_groups",
            r"policy topk: gqa=union_of_groups: unknown value; .*did you mean union_of_group",
        ),
        ("", r"policy '': unknown; known: "),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_policy(text)


def test_layouts_are_named_in_their_own_messages() -> None:
    with pytest.raises(UserError, match=r"layout 'clusterd': unknown; .*did you mean clustered\?"):
        load_layout("clusterd")


def test_a_preset_fills_what_is_not_given() -> None:
    first = load_policy("starc:preset=v1")
    assert (first.window_tokens, first.cluster_tokens, first.tail_tokens) == (0, 32, 128)
    assert (first.iterations, first.start) == (15, "k-means++")
    assert load_policy("starc:preset=v1,iterations=3").iterations == 3
