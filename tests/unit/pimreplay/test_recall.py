"""Recall figures against an obvious loop, and at their edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pimreplay.records import KvHeadTrace
from pimreplay.selection import recall
from pimreplay.selection.recall import ExactAttention, seen_tokens


def head(q_heads=2, prompt=20, steps=5, head_dim=8, seed=0, **changed):
    generator = torch.Generator().manual_seed(seed)
    tokens = prompt + steps
    values = {
        "layer": 0,
        "kv_head": 0,
        "query": torch.randn(q_heads, steps, head_dim, generator=generator),
        "key": torch.randn(tokens, head_dim, generator=generator),
        "value": torch.randn(tokens, head_dim, generator=generator),
        "prompt_tokens": prompt,
        "softmax_scale": 0.5,
        "soft_cap": None,
        "sliding_window": None,
        **changed,
    }
    return KvHeadTrace(**values)


def random_mask(one, share=0.4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(one.q_heads, one.steps, one.tokens, generator=generator) < share
    return mask & seen_tokens(one)


def slow_recall(one, mask, stored=None):
    """One query head, one step, one number at a time; `stored` is what the device holds."""
    stored = stored or one
    rows = {"mass": [], "overlap": [], "error": []}
    for step in range(one.steps):
        parts = {name: [] for name in rows}
        for q_head in range(one.q_heads):
            last = one.prompt_tokens + step
            first = 0 if one.sliding_window is None else max(0, last + 1 - one.sliding_window)
            tokens = list(range(first, last + 1))
            logits = [
                float(one.query[q_head, step] @ one.key[t]) * one.softmax_scale for t in tokens
            ]
            if one.soft_cap is not None:
                logits = [one.soft_cap * np.tanh(x / one.soft_cap) for x in logits]
            sink = 0.0 if one.sink_logit is None else np.exp(float(one.sink_logit[q_head]))
            weights = np.exp(logits) / (np.exp(logits).sum() + sink)
            chosen = [bool(mask[q_head, step, t]) for t in tokens]
            best = np.argsort(logits)[::-1][: sum(chosen)]
            exact = sum(w * one.value[t].numpy() for w, t in zip(weights, tokens, strict=True))
            kept = np.array([w if c else 0 for w, c in zip(weights, chosen, strict=True)])
            read = [t for t, c in zip(tokens, chosen, strict=True) if c]
            scores = [
                float(one.query[q_head, step] @ stored.key[t]) * one.softmax_scale for t in read
            ]
            if one.soft_cap is not None:
                scores = [one.soft_cap * np.tanh(x / one.soft_cap) for x in scores]
            own = np.exp(scores) / (np.exp(scores).sum() + sink)
            found = sum(w * stored.value[t].numpy() for w, t in zip(own, read, strict=True))
            parts["mass"].append(kept.sum() / weights.sum())
            parts["overlap"].append(np.mean([chosen[i] for i in best]))
            parts["error"].append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
        for name, values in parts.items():
            rows[name].append(np.mean(values))
    return rows


KINDS = {
    "plain": {},
    "a soft cap": {"soft_cap": 2.0},
    "a window": {"sliding_window": 9},
    "sinks": {"sink_logit": torch.tensor([1.5, -0.5])},
}


@pytest.mark.parametrize("changed", KINDS.values(), ids=KINDS)
def test_recall_is_that_of_a_loop_over_heads_and_steps(changed):
    one = head(**changed)
    mask = random_mask(one)
    fast, slow = ExactAttention(one).recall(mask), slow_recall(one, mask)
    np.testing.assert_allclose(fast.attention_mass_ratio, slow["mass"], atol=1e-6)
    np.testing.assert_allclose(fast.topk_overlap_ratio, slow["overlap"], atol=1e-6)
    np.testing.assert_allclose(fast.output_error_ratio, slow["error"], atol=1e-5)


@pytest.mark.parametrize("changed", KINDS.values(), ids=KINDS)
def test_the_output_is_that_of_the_keys_and_values_that_are_stored(changed):
    one = head(**changed)
    stored = replace(one, key=one.key.round(), value=one.value.round())
    mask = random_mask(one)
    fast, slow = ExactAttention(one, stored).recall(mask), slow_recall(one, mask, stored)
    np.testing.assert_allclose(fast.attention_mass_ratio, slow["mass"], atol=1e-6)
    np.testing.assert_allclose(fast.output_error_ratio, slow["error"], atol=1e-5)


def test_of_stored_keys_too_nothing_selected_misses_the_whole_output():
    one = head()
    stored = replace(one, key=one.key.round())
    found = ExactAttention(one, stored).recall(torch.zeros(2, 5, 25, dtype=torch.bool))
    np.testing.assert_allclose(found.output_error_ratio, 1.0, atol=1e-6)


def test_everything_kept_is_not_exact_where_the_device_stores_other_keys():
    one = head()
    stored = replace(one, key=one.key.round(), value=one.value.round())
    mask = seen_tokens(one)[None].expand(2, -1, -1)
    fast, slow = ExactAttention(one, stored).recall(mask), slow_recall(one, mask, stored)
    assert min(slow["error"]) > 0.01
    np.testing.assert_allclose(fast.output_error_ratio, slow["error"], atol=1e-5)


def test_ties_beyond_the_places_among_the_best_are_no_hits():
    one = head(q_heads=1, steps=1)
    one.key[:] = 0
    one.key[2] = one.query[0, 0]  # the best, which is not selected; all others tie
    mask = torch.zeros(1, 1, 21, dtype=torch.bool)
    mask[0, 0, [5, 6]] = True
    assert ExactAttention(one).recall(mask).topk_overlap_ratio.tolist() == [0.5]


def test_one_token_is_the_best_one_or_not():
    one = head(q_heads=1, steps=2)
    best = (one.query[0, 0] @ one.key[:21].T).argmax()
    mask = torch.zeros(1, 2, 22, dtype=torch.bool)
    mask[0, 0, best] = True
    mask[0, 1, (one.query[0, 1] @ one.key[:22].T).argmin()] = True
    assert ExactAttention(one).recall(mask).topk_overlap_ratio.tolist() == [1.0, 0.0]


def test_an_output_of_nothing_is_missed_by_nothing():
    one = head()
    one.value[:] = 0
    assert ExactAttention(one).recall(random_mask(one)).output_error_ratio.tolist() == [0.0] * 5


def test_everything_kept_is_exact():
    one = head()
    found = ExactAttention(one).recall(seen_tokens(one)[None].expand(2, -1, -1))
    assert found.attention_mass_ratio.tolist() == [1.0] * 5
    assert found.topk_overlap_ratio.tolist() == [1.0] * 5
    assert found.output_error_ratio.tolist() == [0.0] * 5


def test_nothing_selected_keeps_nothing_and_misses_the_whole_output():
    one = head()
    found = ExactAttention(one).recall(torch.zeros(2, 5, 25, dtype=torch.bool))
    assert found.attention_mass_ratio.tolist() == [0.0] * 5
    assert found.topk_overlap_ratio.tolist() == [0.0] * 5
    np.testing.assert_allclose(found.output_error_ratio, 1.0, atol=1e-6)


def test_tokens_of_almost_no_weight_still_give_their_softmax():
    one = head(q_heads=1, steps=1)
    one.key[:] = 0
    one.key[3] = 200 * one.query[0, 0]  # one token takes all the weight
    mask = torch.zeros(1, 1, 21, dtype=torch.bool)
    mask[0, 0, [5, 6]] = True
    found = ExactAttention(one).recall(mask)
    expected = (one.value[5] + one.value[6]) / 2
    error = torch.linalg.vector_norm(expected - one.value[3]) / torch.linalg.vector_norm(
        one.value[3]
    )
    np.testing.assert_allclose(found.output_error_ratio, float(error), rtol=1e-5)


def test_a_policys_own_output_is_what_is_compared():
    one = head()
    exact = ExactAttention(one)
    mask = random_mask(one)
    own = torch.zeros(2, 5, 8)
    np.testing.assert_allclose(exact.recall(mask, own).output_error_ratio, 1.0, atol=1e-6)


def test_tiles_do_not_change_the_figures(monkeypatch):
    one = head(steps=7)
    mask = random_mask(one)
    whole = ExactAttention(one).recall(mask)
    monkeypatch.setattr(recall, "TILE_BYTES", 3 * 2 * 27 * 4 * 5)
    monkeypatch.setattr(recall, "KEPT_BYTES", 0)
    tiled = ExactAttention(one).recall(mask)
    np.testing.assert_allclose(tiled.attention_mass_ratio, whole.attention_mass_ratio, rtol=1e-5)
    np.testing.assert_allclose(tiled.output_error_ratio, whole.output_error_ratio, rtol=1e-4)


def test_tied_tokens_count_as_best_as_far_as_there_are_places():
    one = head(q_heads=1, steps=1)
    one.key[:] = one.key[0]  # every token ties
    mask = torch.zeros(1, 1, 21, dtype=torch.bool)
    mask[0, 0, :4] = True
    assert ExactAttention(one).recall(mask).topk_overlap_ratio.tolist() == [1.0]
