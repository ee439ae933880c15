"""One KV head replayed: dense layers, spread heads, sliding windows, failures, parts as bytes."""

import numpy as np
import pytest
import torch

from pimreplay.replay.kv_head import HeadFailure, HeadResult, answer, read_kv_head
from pimreplay.replay.settings import Settings
from pimreplay.results.schema import STEP_VALUES
from pimreplay.study.jobs import make_jobs
from pimreplay.study.parts import Part, decode, encode
from pimreplay.study.progress import Progress, duration
from pimreplay.study.runs import RunRequest, plan_run
from tracegen.trace.schema import Manifest
from tracegen.trace.store import Trace
from tracegen.trace.writer import TraceWriter


def results_of(trace, *policies, budget="24", **options):
    points, settings = plan_run(
        RunRequest(trace.where, policies, budget, settings=Settings(**options))
    )
    jobs = make_jobs(points, settings, lambda unit: False)
    return {
        (points[one.point].method.layout, one.layer, one.kv_head): one
        for job in jobs
        for one in answer(job)
    }


def test_a_result_has_every_column_of_the_schema(tiny_trace):
    for one in results_of(tiny_trace, "starc").values():
        assert set(one.values) == set(STEP_VALUES)


def test_dense_layers_belong_to_the_run_and_read_everything(tiny_trace):
    found = results_of(tiny_trace, "topk", dense_layers=1)
    for (_, layer, _), one in found.items():
        assert one.dense_layer == (layer == 0)
        selected = one.values["selected_tokens"]
        expected = one.values["visible_tokens"] if layer == 0 else np.full(8, 24)
        assert selected.tolist() == expected.tolist()


def test_parts_of_energy_and_time_make_the_whole(tiny_trace):
    for one in results_of(tiny_trace, "quest", dense_layers=0).values():
        values = one.values
        parts = ("activation", "cell", "movement", "mac", "softmax", "background", "refresh")
        total = sum(values[f"{part}_pj"] for part in parts)
        np.testing.assert_allclose(values["energy_pj"], total)
        phases = sum(values[f"{phase}_ns"] for phase in ("score", "softmax", "context", "move"))
        np.testing.assert_allclose(values["latency_ns"], phases)


def test_lanes_together_hold_every_selected_token(tiny_trace):
    found = results_of(
        tiny_trace, "starc", "starc@sequential:heads=token_interleaved", dense_layers=0
    )
    for (layout, _, _), one in found.items():
        assert one.lane_tokens.shape[1] == (16 if layout == "clustered" else 16 * 16)
        assert one.lane_tokens.sum(axis=1).tolist() == one.values["union_tokens"].tolist()


def test_a_spread_head_ends_with_its_slowest_channel(tiny_trace):
    found = results_of(
        tiny_trace, "topk", "topk@sequential:heads=token_interleaved", dense_layers=0
    )
    for (layout, layer, kv_head), one in found.items():
        assert one.values["cycles"].tolist() == one.channel_cycles.max(axis=0).tolist()
        if layout.endswith("token_interleaved"):
            together = found["sequential", layer, kv_head]
            assert one.values["blocks"].tolist() == together.values["blocks"].tolist()
            assert (one.values["cycles"] < together.values["cycles"]).all()
            assert (one.values["activations"] > together.values["activations"]).all()


def test_blocks_are_counted_for_the_group_and_for_a_query_head(tiny_trace):
    for one in results_of(tiny_trace, "topk", dense_layers=0).values():
        values = one.values
        assert (values["q_head_blocks"] <= values["blocks"]).all()
        assert (values["blocks"] <= values["dense_blocks"]).all()
        assert (values["blocks"] <= 2 * values["q_head_blocks"]).all()  # two query heads
        expected = 16 * values["q_head_blocks"] / values["selected_tokens"]
        np.testing.assert_allclose(values["overfetch_ratio"], expected)


@pytest.fixture
def odd_trace(tmp_path):
    """Return a trace in bfloat16 bits with a sliding window and no prompt queries."""
    manifest = Manifest(
        kind="synthetic",
        model="random vectors",
        layers=(3,),
        q_heads=2,
        kv_heads=1,
        head_dim=(16,),
        dtype="bfloat16",
        prompt_tokens=40,
        decode_steps=4,
        softmax_scale=(0.25,),
        sliding_window=(10,),
    )
    rng = np.random.default_rng(0)

    def bits(*shape):
        return (rng.standard_normal(shape, np.float32).view(np.uint32) >> 16).astype(np.uint16)

    with TraceWriter(tmp_path / "odd", manifest) as writer:
        writer.write_layer(3, bits(1, 44, 16), bits(1, 44, 16), bits(2, 4, 16))
        writer.write_tokens()
    return Trace.open(tmp_path / "odd")


def test_a_sliding_window_bounds_what_a_step_reads(odd_trace):
    (one,) = results_of(odd_trace, "dense", dense_layers=0).values()
    assert one.values["selected_tokens"].tolist() == [10.0] * 4
    assert one.values["attention_mass_ratio"].tolist() == [1.0] * 4


def test_bfloat16_bits_become_the_numbers_they_are(odd_trace):
    head = read_kv_head(odd_trace, 3, 0, Settings())
    bits = torch.from_numpy(odd_trace.key(3, 0).astype(np.int16)).view(torch.bfloat16)
    assert torch.equal(head.key, bits.float())


def test_what_a_trace_lacks_fails_its_points_as_bad_input(odd_trace):
    points, settings = plan_run(
        RunRequest(odd_trace.where, ("snapkv", "topk"), "36", settings=Settings(dense_layers=0))
    )
    found = [one for job in make_jobs(points, settings, lambda unit: False) for one in answer(job)]
    failed = [one for one in found if isinstance(one, HeadFailure)]
    assert [one.point for one in failed] == [0]
    assert failed[0].bad_input
    assert "capture" in failed[0].error


def test_a_mistake_of_ours_is_told_with_its_place(tiny_trace, monkeypatch):
    points, settings = plan_run(
        RunRequest(tiny_trace.where, ("topk",), "8", settings=Settings(dense_layers=0))
    )
    jobs = make_jobs(points, settings, lambda unit: False)

    def broken(*_):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(type(jobs[0].selector), "select", broken)
    (failure,) = answer(jobs[0])
    assert not failure.bad_input
    assert failure.error.startswith("ZeroDivisionError: by nothing (test_replay.py, line ")


def test_a_part_is_the_same_after_the_cache(tiny_trace):
    for part in results_of(tiny_trace, "starc").values():
        again = decode(encode(part))
        assert isinstance(again, HeadResult)
        assert (again.point, again.layer, again.kv_head) == (part.point, part.layer, part.kv_head)
        assert again.dense_layer == part.dense_layer
        for name, values in part.values.items():
            assert again.values[name].dtype == values.dtype
            np.testing.assert_array_equal(again.values[name], values)
        np.testing.assert_array_equal(again.lane_tokens, part.lane_tokens)
        np.testing.assert_array_equal(again.channel_cycles, part.channel_cycles)


def test_unknown_stays_unknown_in_the_cache(tiny_trace):
    part = next(iter(results_of(tiny_trace, "topk").values()))
    part.values["mac_pj"] = None
    assert decode(encode(part)).values["mac_pj"] is None


@pytest.mark.parametrize(
    "harm", [lambda b: b[:50], lambda b: b[:-9], lambda b: b"", lambda b: b[9:]]
)
def test_a_damaged_part_is_noticed(tiny_trace, harm):
    part = next(iter(results_of(tiny_trace, "topk").values()))
    with pytest.raises(ValueError):
        decode(Part((0, 0, 0), harm(encode(part).data)))


def test_progress_says_what_is_left():
    progress = Progress(total=10, done=2)
    assert progress.line(1.0) == "2 of 10 parts done"
    progress(4)
    assert progress.line(60.0) == "6 of 10 parts done, about 1 min 0 s left"
    assert [duration(one) for one in (4.25, 42, 150, 9000)] == [
        "4.2 s",
        "42 s",
        "2 min 30 s",
        "2 h 30 min",
    ]
