"""Slow, obvious twins of the selection policies: one step, one query head, one token at a time.

Each takes a head as numpy arrays and returns, for one step, the set of selected tokens of each
query head (and the output where the policy has its own). Written from the papers' descriptions,
independently of the tensor code: sets, sorts and loops only.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Head:
    query: np.ndarray  # (q_heads, steps, head_dim)
    key: np.ndarray  # (tokens, head_dim)
    value: np.ndarray
    prompt: int
    scale: float
    prompt_query: np.ndarray | None = None
    prompt_attention: np.ndarray | None = None


def softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def best(scores: dict[int, float], count: int) -> set[int]:
    """Return the keys of the `count` highest scores, the earlier key when equal."""
    return set(sorted(scores, key=lambda key: (-scores[key], key))[: max(count, 0)])


def topk(head: Head, step: int, budget: int) -> list[set[int]]:
    seen = head.prompt + step + 1
    return [best(dict(enumerate(head.key[:seen] @ q[step])), budget) for q in head.query]


def quest(head: Head, step: int, budget: int, page: int) -> list[set[int]]:
    seen = head.prompt + step + 1
    chosen = []
    for q in head.query:
        bounds = {}
        for number in range(math.ceil(seen / page)):
            keys = head.key[number * page : min((number + 1) * page, seen)]
            low, high = keys.min(axis=0), keys.max(axis=0)
            bounds[number] = float(np.maximum(q[step] * low, q[step] * high).sum())
        count = len(bounds) if budget >= seen else max(3, budget // page)
        pages = best(bounds, count)
        chosen.append({token for token in range(seen) if token // page in pages})
    return chosen


def sparq(
    head: Head, step: int, budget: int, rank: int, local_ratio: float
) -> tuple[set[int], np.ndarray]:
    seen = head.prompt + step + 1
    size = np.abs(head.query[:, step]).sum(axis=0)
    components = sorted(best(dict(enumerate(size)), rank))
    scores = []
    for q in head.query[:, step]:
        covered = np.abs(q[components]).sum() / np.abs(q).sum()
        scale = math.sqrt(covered * len(q))
        scores.append(head.key[:seen][:, components] @ q[components] / scale)
    summed = dict(enumerate(sum(scores)))
    window = min(int(budget * local_ratio), budget - 1)
    for token in range(max(0, seen - 1 - window), seen):
        summed[token] = math.inf
    chosen = best(summed, min(budget, seen))
    tokens = sorted(chosen)
    output = []
    for q, score in zip(head.query[:, step], scores, strict=True):
        alpha = softmax(score)[tokens].sum()
        weights = softmax(head.key[tokens] @ q * head.scale)
        mean = head.value[:seen].mean(axis=0)
        output.append(alpha * (weights @ head.value[tokens]) + (1 - alpha) * mean)
    return chosen, np.stack(output)


def lloyd(points: np.ndarray, start: np.ndarray, iterations: int) -> tuple[list[int], np.ndarray]:
    """Cluster one window; an empty cluster's centroid becomes zero."""
    centroid = start.copy()
    label: list[int] = []
    for _ in range(iterations):
        label = [int(np.argmin(((centroid - point) ** 2).sum(axis=1))) for point in points]
        new = np.zeros_like(centroid)
        for cluster in range(len(centroid)):
            members = [point for point, own in zip(points, label, strict=True) if own == cluster]
            if members:
                new[cluster] = np.mean(members, axis=0)
        if np.allclose(centroid, new, atol=1e-4):
            return label, new
        centroid = new
    return label, centroid


def starc_clusters(
    head: Head, step: int, window: int, mean_tokens: int, tail: int, order: object
) -> tuple[list[tuple[np.ndarray, list[int]]], list[int]]:
    """Return the clusters of a step, (centroid, tokens as stored), and the unclustered tail."""
    first = head.prompt + 1
    ranges = [(begin, min(begin + window, first)) for begin in range(0, first, window)]
    begin = first
    while begin + tail <= head.prompt + step + 1:
        ranges.append((begin, begin + tail))
        begin += tail
    clusters = []
    for low, high in ranges:
        points = head.key[low:high]
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        count = math.ceil((high - low) / mean_tokens)
        label, centroid = lloyd(points, points[:count], 16)
        stored = order(label)
        for cluster in range(count):
            members = [low + place for place in stored if label[place] == cluster]
            clusters.append((centroid[cluster], members))
    return clusters, list(range(begin, head.prompt + step + 1))


def whole_clusters(
    head: Head,
    step: int,
    clusters: list[tuple[np.ndarray, list[int]]],
    kept: list[int],
    room: int,
) -> list[set[int]]:
    """Add the best clusters until `room` more tokens are in, the last one cut in stored order."""
    chosen = []
    for q in head.query[:, step]:
        score = {number: float(centroid @ q) for number, (centroid, _) in enumerate(clusters)}
        tokens, left = set(kept), max(room, 0)
        for number in sorted(score, key=lambda number: -score[number]):
            members = clusters[number][1]
            tokens |= set(members[:left])
            left = max(0, left - len(members))
        chosen.append(tokens)
    return chosen


def streaming_llm(head: Head, step: int, budget: int, sinks: int) -> set[int]:
    seen = head.prompt + step + 1
    sinks = min(sinks, budget - 1)
    return {token for token in range(seen) if token < sinks or token >= seen - (budget - sinks)}


def h2o(head: Head, budget: int, recent_ratio: float) -> list[list[set[int]]]:
    """Return the kept tokens, [q_head][step]."""
    assert head.prompt_attention is not None
    result = []
    for q, sums in zip(head.query, head.prompt_attention, strict=True):
        weight = dict(enumerate(map(float, sums)))
        kept = set(range(head.prompt))
        steps = []
        for step in range(len(q)):
            current = head.prompt + step
            kept.add(current)
            weight[current] = 0.0
            recent = max(1, int(budget * recent_ratio))
            while len(kept) > budget:
                old = [token for token in kept if token <= current - recent]
                kept.remove(min(old, key=lambda token: (weight[token], token)))
            steps.append(set(kept))
            tokens = sorted(kept)
            attention = softmax(head.key[tokens] @ q[step] * head.scale)
            for token, one in zip(tokens, attention, strict=True):
                weight[token] += float(one)
        result.append(steps)
    return result


def snapkv(head: Head, budget: int, window: int, kernel: int, pooling: str) -> list[set[int]]:
    """Return the kept prompt tokens of each query head."""
    assert head.prompt_query is not None
    before = head.prompt - window
    result = []
    for queries in head.prompt_query:
        votes = np.zeros(before)
        for back, q in enumerate(queries[-window:]):
            seen = before + back + 1
            votes += softmax(head.key[:seen] @ q * head.scale)[:before]
        pooled = {}
        for token in range(before):
            near = [
                votes[other] if 0 <= other < before else None
                for other in range(token - kernel // 2, token + kernel // 2 + 1)
            ]
            inside = [one for one in near if one is not None]
            pooled[token] = float(sum(inside) / kernel if pooling == "avg" else max(inside))
        result.append(best(pooled, budget - window) | set(range(before, head.prompt)))
    return result


def pqcache(
    head: Head,
    step: int,
    budget: int,
    sinks: int,
    recent_ratio: float,
    quantised: np.ndarray,
) -> set[int]:
    """Select for the group; `quantised` are the keys put together from their centroids."""
    seen = head.prompt + step + 1
    sinks = min(sinks, budget // 2)
    recent = max(1, int((budget - sinks) * recent_ratio))
    candidates = list(range(sinks, max(sinks, seen - recent)))
    total = dict.fromkeys(candidates, 0.0)
    for q in head.query[:, step]:
        if candidates:
            weights = softmax(quantised[candidates] @ q * head.scale)
            for token, weight in zip(candidates, weights, strict=True):
                total[token] += float(weight)
    kept = {token for token in range(seen) if token < sinks or token >= seen - recent}
    return kept | best(total, budget - len(kept))


def retroinfer(
    head: Head,
    step: int,
    budget: int,
    steady: list[int],
    clusters: list[tuple[np.ndarray, list[int]]],
    estimation_ratio: float,
) -> tuple[set[int], np.ndarray]:
    """Read whole clusters while they fit, estimate the next ones, merge."""
    group = np.zeros(len(clusters))
    for q in head.query[:, step]:
        group += softmax(np.array([c @ q * head.scale if t else -np.inf for c, t in clusters]))
    ranked = [n for n in sorted(range(len(clusters)), key=lambda n: -group[n]) if clusters[n][1]]
    tokens, used = set(steady), len(steady)
    while ranked and used + len(clusters[ranked[0]][1]) <= budget:
        members = clusters[ranked.pop(0)][1]
        tokens |= set(members)
        used += len(members)
    guessed = ranked[: round(len(clusters) * estimation_ratio)]
    outputs = []
    for q in head.query[:, step]:
        above, below = np.zeros(head.value.shape[1]), 0.0
        for token in tokens:
            weight = math.exp(head.key[token] @ q * head.scale)
            above, below = above + weight * head.value[token], below + weight
        for number in guessed:
            centroid, members = clusters[number]
            weight = math.exp(centroid @ q * head.scale)
            above = above + weight * head.value[members].sum(axis=0)
            below += weight * len(members)
        outputs.append(above / below)
    return tokens, np.stack(outputs)


def magicpig(
    head: Head, step: int, plane: np.ndarray, bits: int, sinks: int, local: int
) -> tuple[list[set[int]], np.ndarray]:
    """Sample what collides in two tables; correct the weights by the chance of it."""
    first, last = sinks, head.prompt - local
    mean = head.key[first:last].mean(axis=0)
    tables = plane.shape[1] // bits

    def codes(vector: np.ndarray) -> list[tuple[bool, ...]]:
        signs = vector @ plane > 0
        return [tuple(signs[table * bits : (table + 1) * bits]) for table in range(tables)]

    of_key = {token: codes(head.key[token] - mean) for token in range(first, last)}
    static = set(range(first)) | set(range(last, head.prompt + step + 1))
    chosen, outputs = [], []
    for q in head.query[:, step]:
        mine = codes(q)
        sampled = {
            token
            for token, other in of_key.items()
            if sum(a == b for a, b in zip(mine, other, strict=True)) >= 2
        }
        logit = {token: float(head.key[token] @ q * head.scale) for token in static | sampled}
        for token in sampled:
            centred = head.key[token] - mean
            cosine = centred @ q / np.linalg.norm(centred) / np.linalg.norm(q)
            p = (1 - math.acos(cosine) / math.pi) ** bits
            chance = 1 - (1 - p) ** tables - tables * p * (1 - p) ** (tables - 1)
            logit[token] -= math.log(chance + 1e-4)
        tokens = sorted(logit)
        weights = softmax(np.array([logit[token] for token in tokens]))
        chosen.append(set(tokens))
        outputs.append(weights @ head.value[tokens])
    return chosen, np.stack(outputs)
