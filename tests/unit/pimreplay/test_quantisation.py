"""Keys and values in few bits, by hand."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimreplay.records import KvHeadTrace
from pimreplay.selection.quantisation import GROUP, as_stored, rounded
from pimreplay.selection.recall import ExactAttention


def head_of(key: torch.Tensor, value: torch.Tensor, kv_bits: int) -> KvHeadTrace:
    query = torch.randn(2, 4, key.shape[1], generator=torch.Generator().manual_seed(1))
    return KvHeadTrace(0, 0, query, key, value, len(key) - 4, 0.1, None, None, kv_bits=kv_bits)


def test_a_group_is_rounded_between_its_least_and_its_greatest_element() -> None:
    row = torch.tensor([[0.0, 1.0, 2.6, 3.0] + [0.0] * 28 + [10.0, 13.0]])
    assert rounded(row, 3).tolist() == [[0.0, 1.0, 3.0, 3.0] + [0.0] * 28 + [10.0, 13.0]]


def test_equal_elements_stay_what_they_are() -> None:
    row = torch.full((2, 40), -1.5)
    assert torch.equal(rounded(row, 15), row)


def test_keys_are_rounded_per_channel_and_values_per_token() -> None:
    ramp = torch.arange(64.0)[:, None].expand(-1, 32).contiguous()  # one number a token
    stored = as_stored(head_of(ramp, ramp, 4), "kivi")
    assert torch.equal(stored.value, ramp)  # every group of a token holds one number
    step = 31 / 15  # of 32 tokens in 16 values
    assert torch.allclose(stored.key[:32, 0], (torch.arange(32.0) / step).round() * step)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), elements=st.integers(1, 100), bits=st.sampled_from((4, 8)))
def test_no_element_moves_by_more_than_half_a_step(seed: int, elements: int, bits: int) -> None:
    rows = torch.randn(3, elements, generator=torch.Generator().manual_seed(seed))
    found = rounded(rows, 2**bits - 1)
    for first in range(0, elements, GROUP):
        group, moved = rows[:, first : first + GROUP], found[:, first : first + GROUP]
        step = (group.amax(1) - group.amin(1)) / (2**bits - 1)
        assert ((group - moved).abs().amax(1) <= 0.5001 * step + 1e-6).all()


def test_dense_attention_over_fewer_bits_is_further_from_the_models() -> None:
    generator = torch.Generator().manual_seed(2)
    key, value = torch.randn(2, 80, 32, generator=generator)
    errors = []
    for bits in (4, 8):
        head = head_of(key, value, bits)
        mask = (torch.arange(80) < head.visible[:, None]).expand(2, -1, -1)
        recall = ExactAttention(head, as_stored(head, "kivi")).recall(mask)
        assert (recall.attention_mass_ratio > 0.9999).all()
        errors.append(recall.output_error_ratio.mean())
    assert 0 < errors[1] < 0.02 < errors[0] < 0.3
