"""How full a KV cache makes a device, by hand."""

import pytest

from pimreplay.cost.occupancy import KvCache, occupancy
from pimreplay.hardware.reading import load
from pimreplay.mappings.attacc import Attacc

BANK = load("attacc_hbm3_bank")
"""16 channels of 64 banks; a row of all banks is 64 KB: 16 blocks of keys of 128 fp16."""
MB = 1 << 20


def test_whole_rows_are_taken_in_all_banks() -> None:
    # 4,096 tokens are 256 blocks: 16 rows of keys, 2 slices of 8 rows of values, 64 KB each
    assert Attacc(BANK, 128, 16).kv_head_bytes(4096) == 32 * 65536 == 4096 * 128 * 2 * 2
    assert Attacc(BANK, 128, 16).kv_head_bytes(1) == 3 * 65536
    # half as wide: 1 column a key, 32 blocks a row, and one slice of values
    assert Attacc(BANK, 128, 8).kv_head_bytes(4096) == 16 * 65536


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_every_level_takes_at_least_the_bytes_of_the_vectors(level: str) -> None:
    mapping = Attacc(load(f"attacc_hbm3_{level}"), 128, 16)
    taken = mapping.kv_head_bytes(4096)
    vectors = 4096 * mapping.geometry.token_bits // 8
    assert vectors <= taken <= 1.1 * vectors


def test_kv_heads_share_channels_and_layers_are_dealt_out_over_stacks() -> None:
    mapping = Attacc(BANK, 128, 16)
    found = occupancy(KvCache(layers=(mapping,) * 3, kv_heads=17, tokens=4096), spread=1, stacks=2)
    # 2 of 3 layers in the fuller stack, 2 of 17 KV heads in its first channel, 2 MB each
    assert found.fullest_channel_bytes == 2 * 2 * 2 * MB
    assert found.fullest_stack_bytes == 2 * 17 * 2 * MB
    assert found.channel_bytes == BANK.organisation.capacity_bytes // 16
    assert found.stacks_needed == 1


def test_a_spread_kv_head_has_its_share_in_every_channel() -> None:
    mapping = Attacc(BANK, 128, 16)
    found = occupancy(KvCache(layers=(mapping,), kv_heads=2, tokens=65536), spread=16, stacks=1)
    assert found.fullest_channel_bytes == 2 * 2 * MB
    assert found.fullest_stack_bytes == 2 * 32 * MB


def test_the_stacks_that_are_needed_are_just_enough() -> None:
    mapping = Attacc(BANK, 128, 16)
    cache = KvCache(layers=(mapping,) * 80, kv_heads=1, tokens=32768)  # 16 MB a layer
    one = occupancy(cache, spread=1, stacks=1)
    layers = one.channel_bytes // (16 * MB)
    assert one.channel_ratio > 1
    assert one.stacks_needed == -(-80 // layers)
    assert occupancy(cache, 1, one.stacks_needed).channel_ratio <= 1
    assert occupancy(cache, 1, one.stacks_needed - 1).channel_ratio > 1
    assert occupancy(KvCache((mapping,), 1, 1 << 24), 1, 1).stacks_needed == 0


def test_layers_of_two_head_sizes_take_what_each_takes() -> None:
    small, large = Attacc(BANK, 128, 16), Attacc(BANK, 256, 16)  # 2 and 4 MB a layer
    cache = KvCache(layers=(small, large, small), kv_heads=1, tokens=4096)
    assert occupancy(cache, spread=1, stacks=1).fullest_channel_bytes == 8 * MB
    # the first and the third layer in one stack, the second in the other
    assert occupancy(cache, spread=1, stacks=2).fullest_channel_bytes == 4 * MB
