"""An independent recomputation of what a run reports: numpy in float64, from the stored arrays.

Nothing of the replay is used but the selections that the run kept: mass, overlap, error and counts
are computed anew, for random traces and every policy that is there.
Tolerances are those of float32, in which a run computes: far below one token.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimreplay.policies
from pimreplay.policies import load_policy
from pimreplay.replay.kv_head import read_kv_head
from pimreplay.replay.settings import Settings
from pimreplay.results.reader import Results
from pimreplay.selection.budget import Budget
from pimreplay.study.runs import RunRequest, plan_run, run_once
from tracegen.base.discover import names
from tracegen.trace.schema import Manifest
from tracegen.trace.store import Trace, as_float32
from tracegen.trace.writer import TraceWriter

POLICIES = tuple(name for name in names(pimreplay.policies) if name != "recorded")  # needs a file


def random_trace(where: Path, seed: int) -> Trace:
    """Write a trace of random geometry, type, window, cap and scale."""
    rng = np.random.default_rng(seed)
    group, kv_heads = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    prompt, steps = int(rng.integers(90, 200)), int(rng.integers(2, 8))
    head_dim = int(rng.choice([16, 32]))
    numpy_type = rng.choice(["float16", "float32"])
    manifest = Manifest(
        kind="synthetic",
        model=f"random {seed}",
        layers=(int(rng.integers(0, 9)),),
        q_heads=group * kv_heads,
        kv_heads=kv_heads,
        head_dim=(head_dim,),
        dtype=str(numpy_type),
        prompt_tokens=prompt,
        decode_steps=steps,
        softmax_scale=(float(rng.uniform(0.5, 2)) * head_dim**-0.5,),
        sliding_window=(int(rng.integers(60, 120)) if seed % 4 == 1 else None,),
        soft_cap=float(rng.uniform(5, 50)) if seed % 3 == 1 else None,
        sink_logit=(tuple(rng.normal(4, 2, group * kv_heads).tolist()),) if seed % 5 == 2 else (),
        prompt_queries=64,
        has_prompt_attention=True,
    )

    def vectors(heads: int, rows: int) -> Any:
        return rng.standard_normal((heads, rows, head_dim)).astype(numpy_type)

    def sums() -> Any:
        return rng.random((manifest.q_heads, prompt), dtype=np.float32)

    with TraceWriter(where, manifest) as writer:
        writer.write_layer(
            manifest.layers[0],
            key=vectors(kv_heads, manifest.tokens),
            value=vectors(kv_heads, manifest.tokens),
            query=vectors(manifest.q_heads, steps),
            prompt_query=vectors(manifest.q_heads, 64),
            prompt_attention=(sums(), sums()),
        )
        writer.write_tokens()
    return Trace.open(where)


def figures(
    trace: Trace, kv_head: int, selected: np.ndarray, own_output: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Compute what a run says of a selection (q_heads, steps, tokens), each (steps,)."""
    one = trace.manifest
    layer = one.layers[0]
    key, value, query = (
        as_float32(read(layer, kv_head)).astype(np.float64)
        for read in (trace.key, trace.value, trace.query)
    )
    expected: dict[str, list[list[float]]] = {"mass": [], "overlap": [], "error": [], "count": []}
    for q_head in range(one.group):
        rows: dict[str, list[float]] = {name: [] for name in expected}
        for step in range(one.decode_steps):
            last = one.prompt_tokens + step
            window = one.sliding_window[0]
            first = 0 if window is None else max(0, last - window + 1)
            logit = key[first : last + 1] @ query[q_head, step] * one.softmax_scale[0]
            if one.soft_cap is not None:
                logit = one.soft_cap * np.tanh(logit / one.soft_cap)
            weight = np.exp(logit - logit.max())
            q = kv_head * one.group + q_head
            sink = np.exp(one.sink_logit[0][q] - logit.max()) if one.sink_logit else 0.0
            share = sink / (weight.sum() + sink)
            weight /= weight.sum() + sink
            mask = selected[q_head, step]
            assert not mask[:first].any() and not mask[last + 1 :].any(), "an unseen token"
            chosen = np.flatnonzero(mask[first : last + 1])
            best = np.argsort(-logit)[: len(chosen)]
            exact = weight @ value[first : last + 1]
            kept = weight[chosen]
            own = (
                kept @ value[first : last + 1][chosen] / (kept.sum() + share)
                if own_output is None
                else own_output[q_head, step]
            )
            rows["mass"].append(kept.sum() / (1 - share))
            rows["overlap"].append(len(np.intersect1d(chosen, best)) / len(chosen))
            rows["error"].append(np.linalg.norm(own - exact) / np.linalg.norm(exact))
            rows["count"].append(len(chosen))
        for name, numbers in rows.items():
            expected[name].append(numbers)
    return {name: np.mean(numbers, axis=0) for name, numbers in expected.items()}


@pytest.mark.parametrize("seed", range(20))
def test_a_run_reports_what_its_selections_amount_to(tmp_path: Path, seed: int) -> None:
    trace = random_trace(tmp_path / "trace", seed)
    budget = ("40", "0.5", "70")[seed % 3]
    request = RunRequest(
        str(tmp_path / "trace"),
        POLICIES,
        budget,
        workers=0,
        settings=Settings(dense_layers=0, selections=True),
    )
    assert list(run_once(request, str(tmp_path / "results")))
    results = Results.open(tmp_path / "results")
    steps, kept = results.table("steps"), results.table("selections")
    _, settings = plan_run(request)
    one = trace.manifest
    for policy in POLICIES:
        for kv_head in range(one.kv_heads):
            rows = kept.filter(policy=policy, kv_head=kv_head).sort("q_head", "step")
            bits = [np.frombuffer(row, np.uint8) for row in rows["selected"]]
            selected = np.unpackbits(np.stack(bits), axis=-1, count=one.tokens).astype(bool)
            selected = selected.reshape(one.group, one.decode_steps, one.tokens)
            head = read_kv_head(trace, one.layers[0], kv_head, settings)
            output = load_policy(policy).select(head, Budget.parse(budget)).output
            own = None if output is None else output.double().numpy()
            expected = figures(trace, kv_head, selected, own)
            found = steps.filter(policy=policy, kv_head=kv_head).sort("step")
            place = f"{policy}, KV head {kv_head}"
            assert found["selected_tokens"].to_list() == expected["count"].tolist(), place
            assert found["union_tokens"].to_list() == selected.any(axis=0).sum(-1).tolist(), place
            for column, name, tolerance in (
                ("attention_mass_ratio", "mass", 1e-5),
                ("topk_overlap_ratio", "overlap", 1e-7),
                ("output_error_ratio", "error", 1e-4),
            ):
                np.testing.assert_allclose(
                    found[column].to_numpy(), expected[name], rtol=0, atol=tolerance, err_msg=place
                )
