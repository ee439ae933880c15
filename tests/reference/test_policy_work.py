"""The work that each policy does beside attention, counted by loops over what it says it does."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from slow_overheads import kmeans_flops

from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget

PROMPT, STEPS, DIM, Q_HEADS = 75, 37, 8, 2
SEEN = [PROMPT + step + 1 for step in range(STEPS)]
NOTHING = [0] * STEPS


def random_head(**changed: Any) -> KvHeadTrace:
    random = torch.Generator().manual_seed(3)
    tokens = PROMPT + STEPS

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    return replace(
        KvHeadTrace(
            layer=0,
            kv_head=0,
            query=normal(Q_HEADS, STEPS, DIM),
            key=normal(tokens, DIM),
            value=normal(tokens, DIM),
            prompt_tokens=PROMPT,
            softmax_scale=DIM**-0.5,
            soft_cap=None,
            sliding_window=None,
            prompt_query=normal(Q_HEADS, 40, DIM),
            prompt_attention=torch.rand((Q_HEADS, PROMPT), generator=random),
        ),
        **changed,
    )


def work_of(policy: str, head: KvHeadTrace, budget: int = 16) -> dict[str, list[int]]:
    work = load_policy(policy).select(head, Budget(count_tokens=budget)).overhead
    names = ("scored_vectors", "scored_bytes", "clustered_tokens", "clustering_flops")
    counts = {name: getattr(work, name) for name in (*names, "moved_tokens")}
    assert {count.dtype for count in counts.values()} == {torch.int64}
    return {name: count.tolist() for name, count in counts.items()}


def expected(
    vectors: list[int],
    n_bytes: list[int],
    tokens: dict[int, int] | None = None,
    flops: dict[int, int] | None = None,
) -> dict[str, list[int]]:
    """Return the whole answer; tokens and flops of clustering by the steps that have some."""
    return {
        "scored_vectors": vectors,
        "scored_bytes": n_bytes,
        "clustered_tokens": [(tokens or {}).get(step, 0) for step in range(STEPS)],
        "clustering_flops": [(flops or {}).get(step, 0) for step in range(STEPS)],
        "moved_tokens": NOTHING,  # layouts move tokens, policies do not
    }


def whole_vectors(counts: list[int], byte_width: int = 2) -> dict[str, list[int]]:
    """Return the work of multiplying vectors with each query head, read once for the group."""
    return expected(
        [count * Q_HEADS for count in counts], [count * DIM * byte_width for count in counts]
    )


@pytest.mark.parametrize(
    "policy", ["dense", "streaming_llm", "h2o", "snapkv:window=8", "snapkv:window=8,kernel=3"]
)
def test_policies_without_metadata_do_nothing_beside_attention(policy: str) -> None:
    for budget in (16, 200):
        assert work_of(policy, random_head(), budget) == expected(NOTHING, NOTHING)


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("bits", [16, 8])
def test_topk_scores_every_key_it_sees(window: int | None, bits: int) -> None:
    head = random_head(sliding_window=window, kv_bits=bits)
    keys = [min(seen, window or seen) for seen in SEEN]
    assert work_of("topk", head) == whole_vectors(keys, bits // 8)


@pytest.mark.parametrize("window", [None, 22])
@pytest.mark.parametrize("bits", [16, 8])
def test_quest_scores_two_bounds_a_page(window: int | None, bits: int) -> None:
    head = random_head(sliding_window=window, kv_bits=bits)
    bounds = []
    for seen in SEEN:
        pages = {token // 4 for token in range(seen) if token >= seen - (window or seen)}
        bounds.append(2 * len(pages))
    assert work_of("quest:page_tokens=4", head) == whole_vectors(bounds, bits // 8)


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("bits", [16, 8])
def test_sparq_scores_a_few_components_of_every_key(window: int | None, bits: int) -> None:
    head = random_head(sliding_window=window, kv_bits=bits)
    components = [3 * min(seen, window or seen) for seen in SEEN]
    vectors = [math.ceil(count / DIM) * Q_HEADS for count in components]
    n_bytes = [count * bits // 8 for count in components]
    assert work_of("sparq:rank=3", head) == expected(vectors, n_bytes)


@pytest.mark.parametrize("iterations", [1, 2])
def test_starc_scores_centroids_and_clusters_windows(iterations: int) -> None:
    policy = f"starc:window_tokens=32,cluster_tokens=8,tail_tokens=12,iterations={iterations}"
    # the prompt and the first step's token: windows of 32, 32 and 12 tokens, then 12 new ones
    flops = {0: 2 * kmeans_flops(32, 4, DIM, iterations) + kmeans_flops(12, 2, DIM, iterations)}
    tokens, clusters, counts = {0: 76}, 4 + 4 + 2, []
    for step in range(STEPS):
        if step and step % 12 == 0:
            tokens[step], flops[step] = 12, kmeans_flops(12, 2, DIM, iterations)
            clusters += 2
        counts.append(clusters)
    whole = whole_vectors(counts)
    assert work_of(policy, random_head()) == expected(
        whole["scored_vectors"], whole["scored_bytes"], tokens, flops
    )


@pytest.mark.parametrize("iterations", [1, 2])
def test_clusterkv_scores_centroids_and_clusters_what_follows_the_sinks(iterations: int) -> None:
    policy = "clusterkv:sinks=5,cluster_tokens=9,tail_tokens=14,tail_clusters=3"
    # one more pass than iterations: the labels under the last centroids
    passes = iterations + 1
    tokens, flops = {0: 70}, {0: kmeans_flops(70, 8, DIM, passes)}
    clusters, counts = 8, []
    for step in range(STEPS):
        if (step + 1) % 14 == 0:
            tokens[step], flops[step] = 14, kmeans_flops(14, 3, DIM, passes)
            clusters += 3
        counts.append(clusters)
    whole = whole_vectors(counts)
    assert work_of(f"{policy},iterations={iterations}", random_head()) == expected(
        whole["scored_vectors"], whole["scored_bytes"], tokens, flops
    )


@pytest.mark.parametrize("estimation_ratio", [0.0, 0.232])
def test_retroinfer_scores_centroids_and_reads_a_sum_of_values_for_each_estimated_cluster(
    estimation_ratio: float,
) -> None:
    policy = "retroinfer:sinks=3,local_tokens=8,segment_tokens=30,cluster_tokens=4,tail_tokens=10"
    # 64 tokens of the prompt in two segments of 8 centroids each; the last pass is over all 16
    flops = {0: kmeans_flops(64, 8, DIM, 2) + kmeans_flops(64, 16, DIM, 1)}
    tokens, clusters, counts = {0: 64}, 16, []
    for step in range(STEPS):
        if step and step % 10 == 0:
            tokens[step], flops[step] = 10, kmeans_flops(10, 8, DIM, 3)
            clusters += 8
        counts.append(clusters)
    whole = whole_vectors(counts)
    n_bytes = [
        read + round(count * estimation_ratio) * DIM * 2
        for read, count in zip(whole["scored_bytes"], counts, strict=True)
    ]
    options = f"iterations=3,estimation_ratio={estimation_ratio}"
    assert work_of(f"{policy},{options}", random_head()) == expected(
        whole["scored_vectors"], n_bytes, tokens, flops
    )


@pytest.mark.parametrize("window", [None, 20])
def test_pqcache_scores_a_table_of_centroids_and_reads_codes(window: int | None) -> None:
    head = random_head(sliding_window=window)
    codes = [math.ceil(min(seen, window or seen) * 2 * 3 / 8) for seen in SEEN]
    # two codebooks of 8 centroids of half a key, trained on the prompt after the sinks
    assert work_of("pqcache:bits=3,sinks=6,iterations=2", head) == expected(
        [8 * Q_HEADS] * STEPS,
        [read + 8 * DIM * 2 for read in codes],
        {0: PROMPT},
        {0: 2 * kmeans_flops(69, 8, DIM // 2, 2)},
    )


def test_magicpig_projects_queries_and_reads_a_number_for_each_token_in_a_bucket() -> None:
    head = random_head()
    plane = torch.randn((DIM, 36), generator=torch.Generator().manual_seed(head.seed))
    first, last = 4, PROMPT - 6
    centred = head.key[first:last] - head.key[first:last].mean(0)

    def codes(vector: torch.Tensor) -> list[tuple[bool, ...]]:
        signs = (vector @ plane > 0).tolist()
        return [tuple(signs[3 * table : 3 * table + 3]) for table in range(12)]

    keys = [codes(key) for key in centred]
    hits = []
    for step in range(STEPS):
        queries = [codes(query) for query in head.query[:, step]]
        hits.append(
            sum(q[table] == key[table] for q in queries for key in keys for table in range(12))
        )
    assert work_of("magicpig:bits=3,tables=12,local_tokens=6", head) == expected(
        [36 * Q_HEADS] * STEPS,
        [4 * hit + 36 * DIM * 2 for hit in hits],
        {0: last - first},
        {0: 2 * (last - first) * 36 * DIM},  # a multiply-add is two
    )
