"""Traces made without a model, and the check of any trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tracegen.base.errors import UserError
from tracegen.synthetic import Synthesis, synthesize_trace
from tracegen.trace.importing import import_arrays
from tracegen.trace.schema import FileEntry
from tracegen.trace.store import Trace, as_float32
from tracegen.trace.verify import attention_output, verify


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {
        "query": rng.standard_normal((4, 3, 8)).astype(np.float16),
        "key": rng.standard_normal((2, 13, 8)).astype(np.float16),
        "value": rng.standard_normal((2, 13, 8)).astype(np.float16),
        "prefill_tokens": np.array(10),
    }
    return {name: one for name, one in (made | changes).items() if one is not None}


def test_imported_arrays_are_stored_as_they_are(tmp_path: Path) -> None:
    given = arrays(starc_256=np.zeros(3))
    np.savez(tmp_path / "a.npz", **given)
    trace = import_arrays(tmp_path / "a.npz", tmp_path / "t")
    manifest = trace.manifest
    assert (manifest.kind, manifest.prompt_tokens, manifest.decode_steps) == ("imported", 10, 3)
    assert manifest.softmax_scale == (8**-0.5,)
    assert (trace.key(0, 1) == given["key"][1]).all()
    assert (trace.query(0, 1) == given["query"][2:]).all()
    assert trace.output(0, 0) is None
    found = verify(trace)
    assert not found.problems and found.output_error_ratio is None


def test_several_layers_and_everything_optional_can_be_imported(tmp_path: Path) -> None:
    one = arrays()
    given = {name: np.stack([one[name]] * 2) for name in ("query", "key", "value")}
    sums = np.full((2, 4, 10), 1.0, dtype=np.float32)
    given |= {"prefill_tokens": 10, "prompt_query": np.zeros((2, 4, 5, 8), np.float16)}
    given |= {"prompt_attention": sums, "prompt_attention_decayed": sums, "layers": [3, 7]}
    given |= {"softmax_scale": 0.5, "soft_cap": 30.0, "sliding_window": 6}
    given |= {"output": np.zeros((2, 4, 3, 8), np.float16), "token_id": np.arange(13)}
    np.savez(tmp_path / "a.npz", **given)
    manifest = import_arrays(tmp_path / "a.npz", tmp_path / "t").manifest
    assert manifest.layers == (3, 7)
    assert (manifest.softmax_scale, manifest.soft_cap) == ((0.5, 0.5), 30.0)
    assert (manifest.sliding_window, manifest.prompt_queries) == ((6, 6), 5)
    found = verify(Trace.open(tmp_path / "t"))
    assert found.attention_sum_error_ratio == 0
    assert any("recomputed attention differs" in one for one in found.problems)


def test_attention_sinks_can_be_imported(tmp_path: Path) -> None:
    sinks = np.array([1.0, 2.0, -1.0, 0.5])
    given = arrays(sink_logit=sinks)
    heads = given["key"].astype(np.float64).repeat(2, axis=0)
    values = given["value"].astype(np.float64).repeat(2, axis=0)
    outputs = np.empty((4, 3, 8))
    for head, step in np.ndindex(4, 3):
        seen = slice(0, 11 + step)
        weight = np.exp(heads[head, seen] @ given["query"][head, step].astype(np.float64) * 8**-0.5)
        outputs[head, step] = weight @ values[head, seen] / (weight.sum() + np.exp(sinks[head]))
    np.savez(tmp_path / "a.npz", **given, output=outputs.astype(np.float16))
    trace = import_arrays(tmp_path / "a.npz", tmp_path / "t")
    assert trace.manifest.sink_logit == (tuple(sinks),)
    found = verify(trace)
    assert not found.problems
    assert found.output_error_ratio is not None and found.output_error_ratio < 2e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sink_logit": np.zeros(3)}, r"sink_logit has type float64 and shape \(1, 3\), expected"),
        ({"sink_logit": np.full(4, np.nan)}, "sink_logit is .*, allowed: a list of finite numbers"),
        ({"key": None}, "array key missing"),
        ({"key": np.zeros((2, 12, 8), np.float16)}, r"key has shape \(1, 2, 12, 8\), expected"),
        ({"value": np.zeros((2, 13, 8), np.float32)}, "value is float32 and query is float16"),
        ({"query": np.zeros((4, 3, 8))}, "vectors are float64, allowed: float16"),
        (
            {"query": np.zeros((3, 3, 8), np.float16)},
            "q_heads = 3 is not a multiple of kv_heads = 2",
        ),
        ({"query": np.zeros((3, 8), np.float16)}, "query has 2 axes"),
        (
            {"prefill_tokens": np.array([1, 2])},
            r"prefill_tokens has type int64 and shape \(2,\), expected one whole number;",
        ),
        (
            {"token_id": np.arange(3)},
            r"token_id has type int64 and shape \(3,\), expected 13 whole numbers;",
        ),
    ],
)
def test_arrays_that_contradict_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(UserError, match=message):
        import_arrays(tmp_path / "a.npz", tmp_path / "t")
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: not a readable \.npz"):
        import_arrays(tmp_path / "a.npz", tmp_path / "t")
    with pytest.raises(UserError, match="no such file"):
        import_arrays(tmp_path / "b.npz", tmp_path / "t")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_synthetic_trace_says_so_and_is_whole(tmp_path: Path, dtype: str) -> None:
    synthesis = Synthesis(
        layers=2, q_heads=4, head_dim=32, prompt_tokens=300, decode_steps=20, dtype=dtype
    )
    trace = synthesize_trace(synthesis, tmp_path / "t")
    assert trace.manifest.kind == "synthetic"
    assert "synthetic" in trace.manifest.model
    assert trace.key(1, 1).shape == (320, 32)
    assert trace.query(1, 1).shape == (2, 20, 32)
    assert not verify(trace).problems


def test_planted_clusters_sinks_and_locality_show_in_the_attention(tmp_path: Path) -> None:
    synthesis = Synthesis(q_heads=2, kv_heads=1, prompt_tokens=2000, decode_steps=32, clusters=16)
    trace = synthesize_trace(synthesis, tmp_path / "t")
    key, query = as_float32(trace.key(0, 0)), as_float32(trace.query(0, 0))
    logits = query @ key.T * trace.manifest.softmax_scale[0]
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    tokens = trace.manifest.tokens
    assert weight[..., :4].sum(-1).mean() > 10 * 4 / tokens, "sinks are read"
    top = np.sort(weight[..., 4:], axis=-1)[..., ::-1]
    assert top[..., : tokens // 8].sum(-1).mean() > 0.6, "attention is sparse"
    unrotated = key[50:-1]
    nearby = (unrotated[:-1] * unrotated[1:]).sum(-1).mean()
    far = (unrotated[:-700] * unrotated[700:]).sum(-1).mean()
    assert nearby > 5 * abs(far), "neighbours share clusters"


def test_a_seed_makes_one_trace(tmp_path: Path) -> None:
    options = {"prompt_tokens": 50, "decode_steps": 4, "head_dim": 16}
    one = synthesize_trace(Synthesis(**options, seed=1), tmp_path / "a")
    same = synthesize_trace(Synthesis(**options, seed=1), tmp_path / "b")
    other = synthesize_trace(Synthesis(**options, seed=2), tmp_path / "c")
    assert one.hash == same.hash != other.hash


def test_prompt_attention_can_be_asked_for(tmp_path: Path) -> None:
    synthesis = Synthesis(prompt_tokens=200, decode_steps=4, head_dim=16, prompt_attention=True)
    trace = synthesize_trace(synthesis, tmp_path / "t")
    found = verify(trace)
    assert found.attention_sum_error_ratio is not None and not found.problems


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_dim": 0, "layers": 0}, "--layers is 0, give at least 1; --head-dim is 0"),
        ({"layers": 10**9}, "--layers is 1000000000, give at most 10,000"),
        ({"head_dim": 7}, "--head-dim is 7; the rotary embedding needs pairs"),
        ({"q_heads": 3}, "q_heads = 3 is not a multiple of kv_heads = 2"),
        ({"dtype": "int8"}, "--dtype is 'int8'; allowed"),
    ],
)
def test_an_impossible_geometry_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        synthesize_trace(Synthesis(**options), tmp_path / "t")


def test_a_synthetic_trace_above_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--max-gb allows 1\.0 MB"):
        synthesize_trace(Synthesis(), tmp_path / "t", max_gb=0.001)


def test_attention_outside_the_window_is_not_recomputed(tmp_path: Path) -> None:
    given = arrays(sliding_window=np.array(4))
    np.savez(tmp_path / "a.npz", **given)
    trace = import_arrays(tmp_path / "a.npz", tmp_path / "t")
    query, key, value = (as_float32(given[name]) for name in ("query", "key", "value"))
    output = attention_output(trace.manifest, 0, 0, query[:2], key[0], value[0])
    logits = query[0, 1] @ key[0, 8:12].T * 8**-0.5  # step 1 is token 11
    weight = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(output[0, 1], weight @ value[0, 8:12], rtol=1e-5)


def test_rows_that_are_missing_are_named_although_the_checksum_fits(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    trace = import_arrays(tmp_path / "a.npz", tmp_path / "t")
    path = tmp_path / "t/kv/layer_000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path, row_group_size=13)
    import hashlib

    content = path.read_bytes()
    entry = FileEntry("kv/layer_000.parquet", len(content), hashlib.sha256(content).hexdigest())
    from dataclasses import replace

    files = tuple(entry if one.path == entry.path else one for one in trace.manifest.files)
    manifest = replace(trace.manifest, files=files)
    (tmp_path / "t/manifest.json").write_text(manifest.to_json())
    with pytest.raises(UserError, match=r"kv/layer_000\.parquet: rows of KV head 0 are missing"):
        verify(Trace.open(tmp_path / "t"))


def test_more_clusters_than_tokens_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--clusters is 999999999; give at most one a token, 4224"):
        synthesize_trace(Synthesis(clusters=999_999_999), tmp_path / "t")
