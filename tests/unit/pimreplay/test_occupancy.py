"""How full a KV cache makes a device, by hand."""

import pytest

from pimreplay.cost.occupancy import KvCache, kv_head_bytes, occupancy
from pimreplay.hardware.reading import load

BANK = load("attacc_hbm3_bank")
"""16 channels of 64 banks; a row of all banks is 64 KB: 16 blocks of keys of 128 fp16."""
MB = 1 << 20


def test_whole_rows_are_taken_in_all_banks() -> None:
    # 4,096 tokens are 256 blocks: 16 rows of keys, 2 slices of 8 rows of values, 64 KB each
    assert kv_head_bytes(BANK.geometry(128), 4096) == 32 * 65536 == 4096 * 128 * 2 * 2
    assert kv_head_bytes(BANK.geometry(128), 1) == 3 * 65536
    # half as wide: 1 column a key, 32 blocks a row, and one slice of values
    assert kv_head_bytes(BANK.geometry(128, 8), 4096) == 16 * 65536


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_every_level_takes_at_least_the_bytes_of_the_vectors(level: str) -> None:
    geometry = load(f"attacc_hbm3_{level}").geometry(128)
    taken = kv_head_bytes(geometry, 4096)
    assert 4096 * geometry.token_bits // 8 <= taken <= 1.1 * 4096 * geometry.token_bits // 8


def test_kv_heads_share_channels_and_layers_are_dealt_out_over_stacks() -> None:
    geometry = BANK.geometry(128)
    found = occupancy(KvCache(layers=(geometry,) * 3, kv_heads=17, tokens=4096), spread=1, stacks=2)
    # 2 of 3 layers in the fuller stack, 2 of 17 KV heads in its first channel, 2 MB each
    assert found.fullest_channel_bytes == 2 * 2 * 2 * MB
    assert found.fullest_stack_bytes == 2 * 17 * 2 * MB
    assert found.channel_bytes == BANK.organisation.capacity_bytes // 16
    assert found.stacks_needed == 1


def test_a_spread_kv_head_has_its_share_in_every_channel() -> None:
    geometry = BANK.geometry(128)
    found = occupancy(KvCache(layers=(geometry,), kv_heads=2, tokens=65536), spread=16, stacks=1)
    assert found.fullest_channel_bytes == 2 * 2 * MB
    assert found.fullest_stack_bytes == 2 * 32 * MB


def test_the_stacks_that_are_needed_are_just_enough() -> None:
    geometry = BANK.geometry(128)
    cache = KvCache(layers=(geometry,) * 80, kv_heads=1, tokens=32768)  # 16 MB a layer
    one = occupancy(cache, spread=1, stacks=1)
    layers = one.channel_bytes // (16 * MB)
    assert one.channel_ratio > 1
    assert one.stacks_needed == -(-80 // layers)
    assert occupancy(cache, 1, one.stacks_needed).channel_ratio <= 1
    assert occupancy(cache, 1, one.stacks_needed - 1).channel_ratio > 1
    assert occupancy(KvCache((geometry,), 1, 1 << 24), 1, 1).stacks_needed == 0


def test_layers_of_two_head_sizes_take_what_each_takes() -> None:
    small, large = BANK.geometry(128), BANK.geometry(256)  # 2 and 4 MB a layer
    cache = KvCache(layers=(small, large, small), kv_heads=1, tokens=4096)
    assert occupancy(cache, spread=1, stacks=1).fullest_channel_bytes == 8 * MB
    # the first and the third layer in one stack, the second in the other
    assert occupancy(cache, spread=1, stacks=2).fullest_channel_bytes == 4 * MB
