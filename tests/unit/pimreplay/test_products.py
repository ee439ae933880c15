"""Closed forms of the memories that can be bought, and the GPU's roofline, by hand."""

from pathlib import Path

import numpy as np
import pytest

from pimreplay import mappings
from pimreplay.cost.mapping import Mapping
from pimreplay.replay.chain import place, select
from pimreplay.replay.kv_head import read_stored
from pimreplay.replay.method import method
from pimreplay.replay.settings import Settings
from pimreplay.selection.budget_schedule import parse_budget
from tracegen.base.errors import UserError
from tracegen.trace.store import Trace


def mapping(name: str, head_dim: int = 128) -> Mapping:
    return mappings.mapping_of(mappings.load(name), head_dim)


def read(n_blocks: int, *touched: int) -> np.ndarray:
    blocks = np.zeros((1, 1, n_blocks), dtype=bool)
    blocks[0, 0, list(touched)] = True
    return blocks


@pytest.mark.parametrize("fidelity", ["analytic", "command"])
def test_aim_keeps_to_its_published_closed_forms(fidelity: str) -> None:
    """86 B + 88 R + 16 for keys, 1264 + 18 B a window for values, of 16 tokens a block."""
    blocks = read(256, 0, 1, 9, 70, 200)  # rows 0, 1, 8 and 25; windows 0, 1 and 3
    cost = mapping("skhynix_gddr6_aim").cost(blocks, blocks, 1, fidelity)
    assert cost.cycles.tolist() == [86 * 5 + 88 * 4 + 16 + 3 * 1264 + 18 * 5]
    assert (cost.n_key_rows, cost.n_value_rows) == ([4], [24])
    assert cost.n_mac_commands.tolist() == [2 * 8 * 5]
    # modes change twice a block and twice a result, 32 cycles each, and once at each start
    assert cost.move_cycles.tolist() == [32 * (2 * 5 + 1 + 2 * 24 + 1) + 3 * (5 + 24)]


def test_a_row_of_16_tokens_opens_a_row_a_block(tmp_path) -> None:
    path = tmp_path / "cent.toml"
    path.write_text(
        'schema = 1\nbase = "skhynix_gddr6_aim"\n'
        '[regions]\nsource = "CENT"\nkeys = "row_of_16_tokens"\n'
    )
    blocks = read(64, *range(64))
    cost = mapping(str(path)).cost(blocks, read(64), 1, "command")
    assert cost.cycles.tolist() == [11_152]  # measured: 1,024 tokens, head_dim 128


@pytest.mark.parametrize(("tiles", "blocks", "cycles"), [(1, 1, 148), (1, 2, 175), (1, 8, 391)])
def test_a_tile_of_hbm_pim_has_a_fixed_cost(tiles: int, blocks: int, cycles: int) -> None:
    """From devices measured: one more tile of 64 tokens takes 148 cycles for a block."""
    of = mapping("samsung_hbm_pim")
    none = read(16)
    one = read(16, *range(blocks))
    two = read(16, *range(blocks), *range(8, 8 + blocks))
    for fidelity in ("analytic", "command"):
        times = [of.cost(each, none, 1, fidelity).score_cycles[0] for each in (one, two)]
        assert times[1] - times[0] == cycles


def test_query_heads_of_products_read_one_after_another() -> None:
    of = mapping("samsung_hbm_pim")
    one, other = read(64, 0, 9), read(64, 3)
    values = read(32, 0), read(32, 1)
    both = of.cost(np.concatenate([one, other]), np.concatenate(values), 2, "analytic")
    alone = [of.cost(k, v, 1, "analytic") for k, v in zip((one, other), values, strict=True)]
    assert both.cycles == sum(each.cycles for each in alone)
    assert both.n_mac_commands == sum(each.n_mac_commands for each in alone)


def test_random_tokens_touch_nearly_all_transposed_values_and_few_by_token() -> None:
    """As measured with 425 random ones of 4,096 tokens: 88% of dense against 22%."""
    mask = np.zeros((2, 4096), dtype=bool)
    mask[0, np.random.default_rng(0).permutation(4096)[:425]] = True
    mask[1] = True
    ratios = {}
    for name in ("samsung_hbm_pim", "samsung_hbm_pim_by_token"):
        of = mapping(name)
        values = mask.reshape(2, -1, of.values.block_tokens).any(axis=2)
        cost = of.cost(read(512).repeat(2, axis=1), values[None], 1, "analytic")
        ratios[name] = cost.cycles[0] / cost.cycles[1]
    assert 0.85 < ratios["samsung_hbm_pim"] < 0.9
    assert 0.2 < ratios["samsung_hbm_pim_by_token"] < 0.25


def test_regions_are_laid_out_in_blocks_of_their_own() -> None:
    """Clusters start on boundaries of 8 keys and of 16 values: another order for each."""
    trace = Trace.open(Path(__file__).parents[3] / "traces" / "needle_1k")
    head = read_stored(trace, 24, 0, Settings())[1]
    chosen = method("starc@clustered_aligned")
    selection = select(head, chosen.selector, parse_budget("64").of(24, 0))
    placed = place(head, selection, chosen.placer, mapping("samsung_hbm_pim", head.head_dim))
    keys, values = (one.placement.slot[-1] for one in (placed.keys, placed.values))
    assert not bool((keys == values).all())
    label = selection.groups.label
    for slots, block_tokens in ((keys, 8), (values, 16)):
        begin = [int(slots[label == cluster].min()) for cluster in label.unique()[1:9].tolist()]
        assert {slot % block_tokens for slot in begin} == {0}
    same = place(head, selection, chosen.placer, mapping("attacc_hbm3_bank", head.head_dim))
    assert same.keys is same.values


@pytest.mark.parametrize(("name", "tokens"), [("transposed", 32_064), ("by_token", 63_944)])
def test_a_kv_head_beyond_its_rows_is_refused_in_both_fidelities(name: str, tokens: int) -> None:
    of = mapping("samsung_hbm_pim" + ("" if name == "transposed" else "_by_token"))
    few = read(-(-tokens // of.keys.block_tokens), 0)
    values = read(-(-tokens // of.values.block_tokens), 0)
    last = read(few.shape[2], few.shape[2] - 1)
    with pytest.raises(UserError, match="more than the 1000 rows of a KV head"):
        of.cost(few, values, 1, "analytic")
    with pytest.raises(UserError, match="more than the 1000 rows of a KV head"):
        of.cost(last, values, 1, "command")


def test_a_scattered_token_costs_a_gpu_the_sectors_that_it_touches() -> None:
    of = mapping("nvidia_a100_hbm2e")
    tokens = read(4096, 5, 900, 4000)
    cost = of.cost(tokens, tokens, 4, "analytic")
    # 256 bytes are 8 sectors of 32 bytes; keys and values of three tokens, once for the group
    assert cost.cycles.tolist() == [2 * 3 * 8]
    assert cost.cycles[0] * of.device.t_ck_ns == pytest.approx(2 * 3 * 256 / 2039)
    assert cost.n_activations is None
    assert cost.energy.movement_pj == pytest.approx(2 * 3 * 256 * 8 * 3.04)


def test_short_keys_share_a_sector() -> None:
    of = mappings.mapping_of(mappings.load("nvidia_a100_hbm2e"), 16, 4)  # 8 bytes a key
    assert of.keys.block_tokens == 4
    assert of.cost(read(8, 0, 2), read(8, 0, 2), 1, "analytic").cycles.tolist() == [4]


def test_many_queries_make_a_gpu_multiply_longer_than_it_reads() -> None:
    of = mapping("nvidia_a100_hbm2e")
    tokens = read(4096, *range(4096))
    reading, computing = (of.cost(tokens, tokens, q, "analytic").cycles[0] for q in (8, 512))
    assert reading == 2 * 4096 * 8
    flops = 2 * 2 * 4096 * 128 * 512
    assert computing * of.device.t_ck_ns == pytest.approx(flops / 312e3, rel=1e-3)
