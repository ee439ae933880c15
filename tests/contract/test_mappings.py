"""What every device must do, whatever its mapping: found, not listed."""

import numpy as np
import pytest

from pimreplay import mappings
from pimreplay.cost.mapping import BoolArray, Mapping
from pimreplay.hardware import reading
from tracegen.base.errors import UserError

NAMES = reading.names()
TOKENS = 640


def blocks_of(mapping: Mapping, mask: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Return the blocks of keys and of values that tokens (points, tokens) in order touch."""
    found = []
    for region in (mapping.keys, mapping.values):
        starts = np.arange(0, mask.shape[1], region.block_tokens)
        found.append(np.logical_or.reduceat(mask, starts, axis=1)[None])
    return found[0], found[1]


@pytest.fixture(params=NAMES)
def mapping(request: pytest.FixtureRequest) -> Mapping:
    return mappings.mapping_of(mappings.load(request.param), 128)


def test_parts_of_a_step_add_up_and_nothing_read_costs_nothing(mapping: Mapping) -> None:
    mask = np.zeros((3, TOKENS), dtype=bool)
    mask[1, ::7] = True
    mask[2] = True
    cost = mapping.cost(*blocks_of(mapping, mask), 1, "analytic")
    parts = cost.score_cycles + cost.softmax_cycles + cost.context_cycles + cost.move_cycles
    assert cost.cycles.tolist() == parts.tolist()
    assert cost.cycles[0] == 0
    assert 0 < cost.cycles[1] <= cost.cycles[2]
    assert (cost.hidden_cycles <= cost.cycles).all()


def test_more_tokens_cost_more_but_for_how_groups_meet_rows(mapping: Mapping) -> None:
    random = np.random.default_rng(0)
    order = random.permutation(TOKENS)
    mask = np.zeros((40, TOKENS), dtype=bool)
    for point in range(40):
        mask[point, order[: 16 * (point + 1)]] = True
    cycles = mapping.cost(*blocks_of(mapping, mask), 1, "analytic").cycles
    # with HBM-PIM's values by token, groups of eight that fill rows evenly save row changes
    assert (cycles[1:] >= 0.95 * cycles[:-1]).all()


def test_fidelities_agree_within_the_stated_error(mapping: Mapping) -> None:
    random = np.random.default_rng(1)
    shares = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
    mask = np.array([random.random(TOKENS) < share for share in shares])
    mask[:, 5] = True
    fast, true = (
        mapping.cost(*blocks_of(mapping, mask), 1, name).cycles for name in ("analytic", "command")
    )
    off = np.abs(fast / true - 1)
    assert off.max() <= 0.05
    assert np.median(off) <= 0.02


def test_a_kv_head_takes_at_least_its_bytes(mapping: Mapping) -> None:
    vectors = 4096 * 128 * 2 * 2
    assert vectors <= mapping.kv_head_bytes(4096) <= 1.1 * vectors
    assert mapping.kv_head_bytes(1) >= 2 * 128 * 2
    assert mapping.device.channel_bytes * mapping.device.channels >= 1 << 30


def test_what_was_read_is_what_requests_name(mapping: Mapping) -> None:
    mask = np.zeros((1, TOKENS), dtype=bool)
    mask[0, [0, 1, 300]] = True
    keys, values = blocks_of(mapping, mask)
    few = list(mapping.requests(keys[:, 0], values[:, 0], 1))
    mask[:] = True
    keys, values = blocks_of(mapping, mask)
    every = list(mapping.requests(keys[:, 0], values[:, 0], 1))
    assert 0 < len(few) < len(every)
    assert all(word and place for word, place in every)


def test_overheads_follow_their_amounts(mapping: Mapping) -> None:
    cost = mapping.overheads(
        scored_vectors=np.array([0, 64]),
        scored_bytes=None,
        clustering_flops=np.array([0.0, 1e6]),
        moved_tokens=np.array([0, 64]),
    )
    for times in (cost.scoring_ns, cost.remap_ns):
        assert times is not None
        assert times[0] == 0 < times[1]
    unknown = mapping.overheads(
        scored_vectors=None, scored_bytes=None, clustering_flops=None, moved_tokens=None
    )
    assert set(unknown.columns().values()) == {None}


def test_facts_hold_what_results_need(mapping: Mapping) -> None:
    facts = mapping.facts()
    assert facts["block_tokens"] == mapping.keys.block_tokens
    assert facts["key_blocks_per_row"] == mapping.keys.blocks_per_row
    assert facts["kv_bits"] == 16
    assert set(mapping.phases) == {"score", "softmax", "context", "move"}


@pytest.mark.parametrize("name", NAMES)
def test_a_device_says_its_sources_and_what_it_assumes(name: str) -> None:
    device = mappings.load(name)
    tables = [one for one in device.values.values() if isinstance(one, dict)]
    assert tables
    assert all(table["source"] for table in tables)
    assert device.assumed
    assert device.t_ck_ns > 0


@pytest.mark.parametrize("name", [name for name in NAMES if "attacc" not in name])
def test_energy_is_a_known_number_or_none_and_never_zero(name: str) -> None:
    mapping = mappings.mapping_of(mappings.load(name), 128)
    mask = np.ones((1, TOKENS), dtype=bool)
    for part in mapping.cost(*blocks_of(mapping, mask), 2, "analytic").energy.parts().values():
        assert part is None or part[0] > 0


@pytest.mark.parametrize("name", ["samsung_hbm_pim", "skhynix_gddr6_aim"])
def test_units_of_16_bits_refuse_other_elements(name: str) -> None:
    with pytest.raises(UserError, match="multiply elements of 16 bits, not 8; use 16"):
        mappings.mapping_of(mappings.load(name), 128, 8)
