"""Times, energies and overheads are those that the slow twins find, one command at a time."""

from collections.abc import Sequence

import costs_under_test as fast
import numpy as np
import pytest
import slow_costs
import slow_energy
import slow_overheads
import slow_step
from slow_step import address_of

LEVELS = ("bank", "bg", "buffer")
MODELS = ("activation", "attacc")
SHAPES = [(80, 2, 1), (32, 4, 2), (48, 0.5, 3)]
"""Elements of a key, bytes of an element, query heads; 80 and 48 leave lanes that only pad."""
SCATTERED = [0, 3, 4, 31, 32, 33, 64, 100, 101, 102, 160, 161, 163, 167, 177, 250, 299]
SELECTIONS = {
    "nothing": (5, []),
    "one block": (40, [17]),
    "every block": (11, list(range(11))),
    "scattered": (300, SCATTERED),
}


def near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, rel=1e-9)


def columns_of(one: slow_costs.Step, t_ck_ns: float) -> dict[str, object]:
    return {
        "key_rows": one.key_rows,
        "value_rows": one.value_rows,
        "activations": one.activations,
        "mac_commands": one.macs,
        "move_commands": one.moves,
        "cycles": one.total,
        "latency_ns": near(one.total * t_ck_ns),
        **{f"{part}_ns": near(cycles * t_ck_ns) for part, cycles in one.cycles.items()},
        "energy_pj": near(one.bill.total_pj),
        **{f"{part}_pj": near(energy) for part, energy in one.bill.parts.items()},
    }


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_a_step_is_charged_by_its_commands(
    level: str, shape: tuple[int, float, int], selection: str
) -> None:
    head_dim, element_bytes, q_heads = shape
    n_blocks, chosen = SELECTIONS[selection]
    for model in MODELS:
        one = fast.hardware(level, model=model)
        device = fast.in_plain_numbers(one)
        slow = slow_costs.step(device, head_dim, element_bytes, n_blocks, chosen, q_heads, model)
        columns, cycles, hidden = fast.step_columns(
            one, head_dim, element_bytes, n_blocks, [chosen], q_heads
        )
        found = {name: values[0] for name, values in columns.items()}
        assert found == columns_of(slow, device.t_ck_ns)
        assert cycles.tolist() == [[slow.total]]
        assert hidden.tolist() == [[slow.cycles["softmax"] + slow.cycles["move"]]]


@pytest.mark.parametrize("q_heads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
def test_a_step_asks_for_the_places_where_its_blocks_lie(level: str, q_heads: int) -> None:
    one = fast.hardware(level)
    device = fast.in_plain_numbers(one)
    slow = slow_step.step_requests(device, 80, 2, 300, SCATTERED, q_heads)
    macs = [(w, address_of(device, place)) for w, place in slow if w.startswith("PIM_MAC")]
    found = fast.step_requests(one, 80, 300, SCATTERED, q_heads)
    assert [w for w, _ in found] == [w for w, _ in slow]
    keys = len(macs) // 2
    assert [one for one in found if one[0].startswith("PIM_MAC")][:keys] == macs[:keys]
    if level != "buffer":  # values begin somewhat further there, on rows of their own too
        assert [one for one in found if one[0].startswith("PIM_MAC")] == macs


@pytest.mark.parametrize("level", LEVELS)
def test_a_head_spread_over_channels_ends_with_the_slowest_and_costs_all_of_them(
    level: str,
) -> None:
    n_blocks, steps = 70, [[0, 3, 4, 7, 9, 12, 30, 31, 69], [1], [], [2, 5]]
    for model in MODELS:
        one = fast.hardware(level, model=model)
        device = fast.in_plain_numbers(one)
        columns, cycles, hidden = fast.step_columns(one, 32, 2, n_blocks, steps, 2, channels=3)
        for index, chosen in enumerate(steps):
            whole, shares = slow_costs.spread_step(device, 32, 2, n_blocks, chosen, 2, 3, model)
            found = {name: values[index] for name, values in columns.items()}
            assert found == columns_of(whole, device.t_ck_ns)
            assert cycles[:, index].tolist() == [share.total for share in shares]
            assert hidden[:, index].tolist() == [
                share.cycles["softmax"] + share.cycles["move"] for share in shares
            ]


def test_each_channel_reads_its_share_of_keys_and_of_values() -> None:
    keys = [[[1, 0, 0, 1, 1], [0, 1, 1, 0, 0]], [[0, 0, 0, 0, 1], [1, 1, 0, 1, 0]]]
    values = [[[1, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]]
    # of each reading: the even blocks of both steps in channel 0, the odd ones in channel 1
    of_keys = [
        [[1, 0, 1], [0, 1, 0], [0, 1, 0], [1, 0, 0]],
        [[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]],
    ]
    of_values = [[[1, 0], [0, 1], [1, 0], [0, 0]], [[0, 0], [1, 0], [1, 0], [0, 0]]]
    assert fast.asked_of_channels(keys, values, 1)[0] == [keys, values]
    asked, columns = fast.asked_of_channels(keys, values, 2)
    assert asked == [of_keys, of_values]
    # the four points take 1 to 4 cycles: channel 1 is slower, counts and energies add up
    assert columns["cycles"].tolist() == [3, 4]
    assert columns["mac_commands"].tolist() == [1 + 3, 2 + 4]
    assert columns["cell_pj"].tolist() == [1 + 3, 2 + 4]
    assert columns["activations"] is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_analytic_fidelity_counts_the_same_commands_and_pays_the_same_prices(
    level: str, model: str, channels: int
) -> None:
    one = fast.hardware(level, model=model)
    steps = [SCATTERED, [17], []]
    arguments = (one, 80, 2, 300, steps, 2)
    command, _, _ = fast.step_columns(*arguments, "command", channels)
    analytic, cycles, _ = fast.step_columns(*arguments, "analytic", channels)
    timed = {name for name in command if name.endswith("_ns")}
    by_rows = {"key_rows", "value_rows", "activations", "activation_pj"}
    by_time = {"cycles", "background_pj", "refresh_pj"}
    for name in command.keys() - timed - by_rows - by_time - {"energy_pj"}:
        assert analytic[name] == command[name], name
    price = dict.fromkeys(fast.PRIMES, 0.0) if model == "attacc" else fast.PRIMES
    banks = fast.in_plain_numbers(one).banks_at_once
    busy_ns = cycles.sum(axis=0) * one.t_ck_ns
    rows = np.add(analytic["key_rows"], analytic["value_rows"])
    assert analytic["activations"] == (rows * banks).tolist()
    expected = {
        "activation_pj": rows * banks * price["activation_pj"],
        "background_pj": busy_ns * price["background_mw_per_channel"],
        "refresh_pj": busy_ns * price["refresh_mw_per_channel"],
        "cycles": cycles.max(axis=0),
        "latency_ns": cycles.max(axis=0) * one.t_ck_ns,
        "energy_pj": sum(np.array(analytic[f"{part}_pj"]) for part in slow_energy.PARTS),
    }
    for name, values in expected.items():
        assert analytic[name] == pytest.approx(list(values), rel=1e-9), name


@pytest.mark.parametrize("price", fast.PRIMES)
@pytest.mark.parametrize("level", LEVELS)
def test_an_unknown_price_leaves_its_part_and_the_total_unknown(level: str, price: str) -> None:
    one = fast.hardware(level, prices={price: None})
    slow = slow_costs.step(fast.in_plain_numbers(one), 32, 4, 40, [17], 1)
    for channels in (1, 2):
        columns, _, _ = fast.step_columns(one, 32, 4, 40, [[17]], 1, channels=channels)
        unknown = {name for name, values in columns.items() if values == [None]}
        assert unknown == {"energy_pj"} | {
            f"{part}_pj" for part, amount in slow.bill.parts.items() if amount is None
        }
    assert len(unknown) == 2


@pytest.mark.parametrize("level", LEVELS)
def test_a_device_without_refresh_pays_none(level: str) -> None:
    one = fast.hardware(level, refresh=False)
    columns, _, _ = fast.step_columns(one, 32, 4, 40, [[17]], 1)
    slow = slow_costs.step(fast.in_plain_numbers(one), 32, 4, 40, [17], 1)
    assert {name: values[0] for name, values in columns.items()} == columns_of(slow, one.t_ck_ns)
    assert columns["refresh_pj"] == [0.0]


WORDS = ("PIM_WR_GB", "MAC", "PIM_MV_SB", "PIM_SFM", "PIM_MV_GB", "MAC", "LD", "ST", "LD")


@pytest.mark.parametrize("words", [WORDS, ("LD", "LD"), ("ST",), ("PIM_MV_SB",)], ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_a_layer_on_several_channels_is_charged_by_its_commands(
    level: str, words: tuple[str, ...]
) -> None:
    one = fast.hardware(level, organisation={"channels": 2})
    device = fast.in_plain_numbers(one)
    mac = {"bank": "PIM_MAC_AB", "bg": "PIM_MAC_SB", "buffer": "PIM_MAC_PB"}[level]
    requests = tuple(
        (
            mac if word == "MAC" else word,
            address_of(device, (index % 2, index % 4, 1, index % 3, index), channel),
        )
        for channel in (0, 1)
        for index, word in enumerate(words)
    )
    log, cycles = slow_costs.issued(device, requests, channels=2)
    found_cycles, own, attacc = fast.layer_energy(
        one, requests, head_dim=48, element_bytes=2, kv_heads=3, tokens=50
    )
    assert found_cycles == cycles
    for model, found in (("activation", own), ("attacc", attacc)):
        bill = slow_energy.charge(
            device,
            log,
            cycles,
            model,
            scores=3 * 50,
            head_dim=48,
            element_bytes=2,
            channels=2,
        )
        assert found == {
            **{part: near(energy) for part, energy in bill.parts.items()},
            "total": near(bill.total_pj),
        }


@pytest.mark.parametrize("model", MODELS)
def test_channels_that_stand_still_pay_for_standby_and_refresh(model: str) -> None:
    one = fast.hardware("bank", model=model)
    found = fast.idle_energy(one, 50.0, 3)
    bill = slow_energy.charge(
        fast.in_plain_numbers(one),
        [],
        1,
        model,
        scores=0,
        head_dim=1,
        element_bytes=2,
        channels=3,
    )
    scale = 50.0 / one.t_ck_ns  # of a bill over one cycle
    assert found == {f"{part}_pj": near_all([scale * e]) for part, e in bill.parts.items()}


LAYERS = {
    "a head a channel": ([[50, 7]], [[9, 3]], None),
    "an odd head beside pairs": (
        [[50, 9], [40, 8], [30, 7], [20, 60], [10, 5], [60, 4], [70, 3]],
        [[9, 8], [45, 1], [3, 3], [25, 9], [5, 5], [6, 2], [7, 3]],
        [0, 0, 1, 0, 0, 0, 1],
    ),
    "more heads than channels": (
        [[10 + head, 90 - 7 * head] for head in range(19)],
        [[head, 5] for head in range(19)],
        None,
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_ends_with_its_busiest_channel_and_pairs_hide_each_others_moves(case: str) -> None:
    cycles, hidden, channel_of = LAYERS[case]
    one = fast.hardware("bank", organisation={"channels": 4})
    for given in (hidden, None):
        channels, layer = fast.channel_cycles(one, cycles, given, channel_of)
        for step in (0, 1):
            expected = slow_costs.channel_cycles(
                4,
                [row[step] for row in cycles],
                None if given is None else [row[step] for row in given],
                channel_of,
            )
            assert [row[step] for row in channels] == expected
            assert layer[step] == max(expected)


def test_a_pair_hides_what_the_shorter_of_the_two_lets_it() -> None:
    one = fast.hardware("bank", organisation={"channels": 1})
    # the second hides 9 of the first; the first, 50 long, hides all 45 of the second
    assert fast.channel_cycles(one, [[50], [60]], [[9], [45]]) == ([[56]], [56])
    # the second is only 4 long, so it hides no more than that
    assert fast.channel_cycles(one, [[50], [4]], [[9], [1]]) == ([[49]], [49])
    # three heads: the third has no partner
    assert fast.channel_cycles(one, [[50], [60], [70]], [[9], [45], [8]]) == ([[126]], [126])


VECTORS = [0, 1, 2, 15, 16, 17, 100, 333]


@pytest.mark.parametrize("shape", [(128, 2), (80, 2), (48, 1)], ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_scoring_reads_vectors_as_dense_keys_are_read(level: str, shape: tuple[int, int]) -> None:
    one = fast.hardware(level)
    device = fast.in_plain_numbers(one)
    n_bytes = [3 * vectors for vectors in VECTORS]
    for read in (None, n_bytes):
        found = fast.overhead_columns(one, *shape, scored_vectors=VECTORS, scored_bytes=read)
        slow = [
            slow_overheads.scoring(device, *shape, vectors, None if read is None else 3 * vectors)
            for vectors in VECTORS
        ]
        assert found["scoring_ns"] == near_all([time_ns for time_ns, _ in slow])
        assert found["scoring_pj"] == near_all([energy for _, energy in slow])


@pytest.mark.parametrize("shape", [(128, 2), (80, 2), (9, 1)], ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_remapping_reads_and_writes_keys_and_values(level: str, shape: tuple[int, int]) -> None:
    # buses that an odd number of accesses does not fill evenly
    one = fast.hardware(level, timing={"n_bl_cycles": 3}, organisation={"pseudo_channels": 4})
    tokens = [0, 1, 2, 64]
    found = fast.overhead_columns(one, *shape, moved_tokens=tokens)
    slow = [slow_overheads.remapping(fast.in_plain_numbers(one), *shape, n) for n in tokens]
    assert found["remap_ns"] == near_all([time_ns for time_ns, _ in slow])
    assert found["remap_pj"] == near_all([energy for _, energy in slow])


def test_clustering_takes_the_hosts_arithmetic_rate() -> None:
    one = fast.hardware("bank", host={"host_flops_per_ns": 1950.0, "host_pj_per_flop": 205.0})
    found = fast.overhead_columns(one, 128, 2, clustering_flops=[0, 975, 3_900_000])
    assert found["clustering_ns"] == [0.0, 0.5, 2000.0]
    assert found["clustering_pj"] == near_all([0.0, 975 * 205.0, 3_900_000 * 205.0])


def near_all(values: Sequence[float | None]) -> object:
    return None if None in values else pytest.approx(values, rel=1e-9)


# By hand, on AttAcc's HBM3 at 769 ps: 16 lanes of 4 banks, rows of 32 columns of 32 bytes. A row
# switch is n_rtpl + n_rp + n_rcdrd = 8 + 19 + 19 = 46 cycles; MACs are 6 cycles apart (all banks,
# same bank), 2 at the buffer. 100 vectors of 128 elements of 2 bytes:
SCORING_BY_HAND = {
    # 7 blocks of 16, 2 columns each, one row in 64 banks
    "bank": ((7 * 2 * 6 + 46) * 0.769, 1 * 64),
    # 7 blocks of 16, 8 columns each, 4 blocks a row, 2 rows in 16 banks
    "bg": ((7 * 8 * 6 + 2 * 46) * 0.769, 2 * 16),
    # 50 blocks of 2, 8 columns each, 4 blocks a row, 13 rows in 2 banks
    "buffer": ((50 * 8 * 2 + 13 * 46) * 0.769, 13 * 2),
}


@pytest.mark.parametrize("level", LEVELS)
def test_overheads_of_a_step_computed_by_hand(level: str) -> None:
    one = fast.hardware(level, host={"host_flops_per_ns": 100.0, "host_pj_per_flop": 3.0})
    counts = {"scored_vectors": [100], "clustering_flops": [5000], "moved_tokens": [10]}
    by_vector = fast.overhead_columns(one, 128, 2, **counts, scored_bytes=None)
    by_byte = fast.overhead_columns(one, 128, 2, **counts, scored_bytes=[1000])
    scoring_ns, rows = SCORING_BY_HAND[level]
    work_pj = rows * 907.0 + 100 * 128 * 0.37
    # 10 tokens are 10 * 2 * 128 * 2 = 5120 bytes or 160 accesses, read and written on two buses
    expected = {
        "scoring_ns": scoring_ns,
        "clustering_ns": 50.0,
        "clustering_pj": 15000.0,
        "remap_ns": 2 * 160 * 2 / 2 * 0.769,
        "remap_pj": 2 * 5120 * 8 * (0.41 + 1.03 + 1.27 + 0.53),
    }
    for found, n_bytes in ((by_vector, 100 * 128 * 2), (by_byte, 1000)):
        scoring_pj = work_pj + n_bytes * 8 * 0.41
        assert found == {
            name: near_all([value])
            for name, value in {**expected, "scoring_pj": scoring_pj}.items()
        }


def test_what_is_not_known_of_an_overhead_stays_unknown() -> None:
    known = {
        "scored_vectors": [1],
        "scored_bytes": [8],
        "clustering_flops": [1],
        "moved_tokens": [1],
    }

    def unknown(one: fast.Hardware, **changed: None) -> set[str]:
        found = fast.overhead_columns(one, 128, 2, **{**known, **changed})
        return {name for name, values in found.items() if values is None}

    one = fast.hardware("bank")
    assert unknown(one) == set()
    assert unknown(one, scored_vectors=None) == {"scoring_ns", "scoring_pj"}
    assert unknown(one, scored_bytes=None) == set()
    assert unknown(one, clustering_flops=None) == {"clustering_ns", "clustering_pj"}
    assert unknown(one, moved_tokens=None) == {"remap_ns", "remap_pj"}
    for price, parts in {
        "activation_pj": {"scoring_pj"},
        "cell_pj_per_bit": {"scoring_pj", "remap_pj"},
        "bank_group_pj_per_bit": {"remap_pj"},
        "global_io_pj_per_bit": {"remap_pj"},
        "tsv_pj_per_bit": {"remap_pj"},
        "interposer_pj_per_bit": set(),
        "mac_pj": {"scoring_pj"},
    }.items():
        assert unknown(fast.hardware("bank", prices={price: None})) == parts, price
    no_rate = fast.hardware("bank", host={"host_flops_per_ns": None})
    assert unknown(no_rate) == {"clustering_ns", "clustering_pj"}
    no_energy = fast.hardware("bank", host={"host_pj_per_flop": None})
    assert unknown(no_energy) == {"clustering_pj"}


@pytest.mark.parametrize("numbers", [(1, 1, 1, 1), (5, 3, 4, 2), (7, 2, 9, 0)], ids=str)
def test_the_arithmetic_of_kmeans_is_counted_loop_by_loop(
    numbers: tuple[int, int, int, int],
) -> None:
    assert fast.flops_of_kmeans(*numbers) == slow_overheads.kmeans_flops(*numbers)


def test_the_arithmetic_of_kmeans_by_hand() -> None:
    # 10 iterations; each of 64 points meets 4 centroids of 128 elements (a multiply-add is two) and
    # joins one sum
    assert fast.flops_of_kmeans(64, 4, 128, 10) == 10 * 64 * (4 * 2 * 128 + 128)
