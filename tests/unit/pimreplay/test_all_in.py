import numpy as np

from pimreplay.cost.all_in import all_in

LOAD = np.array([[100.0, 10.0], [80.0, 90.0]])
"""Two channels, two steps."""


def rows(*values: tuple[float, float]) -> np.ndarray:
    return np.array(values)


def test_the_busiest_channel_is_that_of_attention_and_overheads_together() -> None:
    scoring, remap = rows((5, 5), (30, 1)), rows((0, 100), (2, 0))
    found = all_in(LOAD, scoring, remap, rows((0, 0), (0, 0)))
    assert found.with_scoring_ns.tolist() == [110, 91]
    assert found.with_overheads_ns.tolist() == [112, 115]


def test_kv_heads_of_one_channel_add_up() -> None:
    scoring = rows((1, 2), (10, 20), (4, 8))  # the third KV head is in the first channel
    found = all_in(LOAD, scoring, scoring * 0, scoring * 0)
    assert found.with_scoring_ns.tolist() == [105, 110]


def test_one_host_clusters_the_kv_heads_one_after_another() -> None:
    nothing = rows((0, 0), (0, 0))
    found = all_in(LOAD, nothing, nothing, rows((1000, 3), (1000, 4)))
    assert found.with_scoring_ns.tolist() == [100, 90]
    assert found.with_overheads_ns.tolist() == [2100, 97]


def test_what_is_unknown_makes_only_the_sums_that_hold_it_unknown() -> None:
    known = rows((1, 1), (1, 1))
    assert all_in(LOAD, None, known, known).with_scoring_ns is None
    assert all_in(LOAD, known, None, known).with_overheads_ns is None
    partly = all_in(LOAD, rows((1, 100), (1, 1)), known, None)
    assert partly.with_scoring_ns is not None
    assert partly.with_scoring_ns.tolist() == [101, 110]
    assert partly.with_overheads_ns is None
