"""A trace reads back exactly what was written, and refuses what is damaged."""

import errno
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tracegen.base.errors import UserError
from tracegen.trace.schema import Manifest, estimate_bytes
from tracegen.trace.store import Trace, as_float32
from tracegen.trace.writer import TraceWriter

Make = Callable[..., Trace]


def small_manifest(dtype: str = "float16") -> Manifest:
    return Manifest(
        kind="imported",
        model="arrays",
        layers=(3,),
        q_heads=4,
        kv_heads=2,
        head_dim=(8,),
        dtype=dtype,
        prompt_tokens=5,
        decode_steps=2,
        softmax_scale=(0.25,),
        sliding_window=(None,),
    )


def write_small(where: Path | str, manifest: Manifest, **options: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    raw = {
        "bfloat16": lambda shape: rng.integers(0, 0x7F80, shape).astype(np.uint16),
        "float16": lambda shape: rng.standard_normal(shape).astype(np.float16),
        "float32": lambda shape: rng.standard_normal(shape).astype(np.float32),
    }[manifest.dtype]
    arrays = {"key": raw((2, 7, 8)), "value": raw((2, 7, 8)), "query": raw((4, 2, 8))}
    with TraceWriter(where, manifest, **options) as writer:
        writer.write_layer(3, **arrays)
        writer.write_tokens()
    return arrays


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_stored_bytes_are_the_given_ones(tmp_path: Path, dtype: str) -> None:
    arrays = write_small(tmp_path / "t", small_manifest(dtype))
    trace = Trace.open(tmp_path / "t")
    for kv_head in range(2):
        assert trace.key(3, kv_head).tobytes() == arrays["key"][kv_head].tobytes()
        assert trace.value(3, kv_head).tobytes() == arrays["value"][kv_head].tobytes()
        group = arrays["query"][2 * kv_head : 2 * kv_head + 2]
        assert trace.query(3, kv_head).tobytes() == group.tobytes()
        assert trace.query(3, kv_head).shape == (2, 2, 8)
    assert trace.output(3, 0) is None
    assert trace.prompt_query(3, 0) is None
    assert trace.prompt_attention(3, 0) is None


def test_a_heads_keys_are_one_contiguous_run_of_bytes_in_the_file(
    make_trace: Make, tmp_path: Path
) -> None:
    trace = make_trace(tmp_path / "t", prompt_tokens=30_000, layers=1, group=1)
    content = (tmp_path / "t/kv/layer_000.parquet").read_bytes()
    for kv_head in range(2):
        assert trace.key(0, kv_head).tobytes() in content


def test_vectors_are_required_columns_and_uncompressed(tiny_trace: Trace) -> None:
    file = pq.ParquetFile(f"{tiny_trace.where}/kv/layer_000.parquet")
    assert not any(field.nullable for field in file.schema_arrow)
    column = file.metadata.row_group(0).column(2)
    assert (column.compression, column.num_values) == ("UNCOMPRESSED", tiny_trace.manifest.tokens)


def test_bfloat16_bits_become_the_right_numbers() -> None:
    bits = np.array([0x3F80, 0xC000, 0x7F80], dtype=np.uint16)
    assert as_float32(bits).tolist() == [1.0, -2.0, np.inf]


def test_everything_comes_in_the_documented_shapes(tiny_trace: Trace) -> None:
    prompt_query = tiny_trace.prompt_query(1, 1)
    attention = tiny_trace.prompt_attention(1, 1)
    output = tiny_trace.output(0, 1)
    assert prompt_query is not None and prompt_query.shape == (2, 96, 32)
    assert attention is not None and [one.shape for one in attention] == [(2, 96), (2, 96)]
    assert output is not None and output.shape == (2, 8, 32)
    tokens = tiny_trace.tokens()
    assert tokens.columns == ["token", "token_id", "text", "position", "phase", "log_prob"]
    assert tokens["phase"].to_list() == ["prompt"] * 96 + ["decode"] * 8
    assert tokens["log_prob"].null_count() == 104


def test_the_estimate_is_close_to_the_size_on_disk(make_trace: Make, tmp_path: Path) -> None:
    trace = make_trace(tmp_path / "t", prompt_tokens=2000, head_dim=64)
    size = sum(one.size_bytes for one in trace.manifest.files)
    assert 0.95 * size < estimate_bytes(trace.manifest) < 1.1 * size


def test_the_hash_ignores_versions_and_sees_vectors(make_trace: Make, tmp_path: Path) -> None:
    one = make_trace(tmp_path / "a", seed=0)
    same = make_trace(tmp_path / "b", seed=0)
    other = make_trace(tmp_path / "c", seed=1)
    assert one.hash == same.hash != other.hash
    assert replace(one.manifest, versions={"torch": "9"}).hash == one.hash


def test_a_trace_can_be_sent_to_another_process(tiny_trace: Trace) -> None:
    again = pickle.loads(pickle.dumps(tiny_trace))
    assert (again.key(0, 0) == tiny_trace.key(0, 0)).all()


def test_a_url_is_as_good_as_a_path(tmp_path: Path) -> None:
    url = (tmp_path / "t").as_uri()
    arrays = write_small(url, small_manifest())
    assert (Trace.open(url).key(3, 1) == arrays["key"][1]).all()
    with pytest.raises(UserError, match="exists already"):
        write_small(url, small_manifest())
    write_small(url, small_manifest("float32"), overwrite=True)
    assert Trace.open(url).manifest.dtype == "float32"


def test_a_failure_inside_the_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), TraceWriter(tmp_path / "t", small_manifest()):
        assert any(tmp_path.iterdir())
        raise RuntimeError
    assert not any(tmp_path.iterdir())


def test_a_file_that_does_not_reach_the_disk_fails_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small(tmp_path / "t", small_manifest())
    before = Trace.open(tmp_path / "t").hash

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tracegen.trace.writer.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_small(tmp_path / "t", small_manifest("float32"), overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == ["t"]
    assert Trace.open(tmp_path / "t").hash == before


def test_an_existing_folder_is_refused_unless_overwritten(tmp_path: Path) -> None:
    write_small(tmp_path / "t", small_manifest())
    with pytest.raises(
        UserError,
        match=r"exists already.*choose another --out or add --overwrite",
    ):
        write_small(tmp_path / "t", small_manifest())
    write_small(tmp_path / "t", small_manifest("float32"), overwrite=True)
    assert Trace.open(tmp_path / "t").manifest.dtype == "float32"
    assert [one.name for one in tmp_path.iterdir()] == ["t"]


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"holds no manifest\.json"):
        write_small(tmp_path / "t", small_manifest(), overwrite=True)
    assert (tmp_path / "t/thesis.tex").read_text() == "mine"


def test_what_a_killed_run_left_is_no_trace_and_is_removed_by_the_next(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        writer = TraceWriter(tmp_path / "t", small_manifest())
        writer.__enter__()
        os._exit(9)  # as if killed: nothing is cleaned up
    os.waitpid(child, 0)
    assert any(tmp_path.glob(".t.partial-*"))
    with pytest.raises(UserError, match="no trace here"):
        Trace.open(tmp_path / "t")
    write_small(tmp_path / "t", small_manifest())
    assert [one.name for one in tmp_path.iterdir()] == ["t"]


def test_a_truncated_file_is_named(make_trace: Make, tmp_path: Path) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/kv/layer_001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"kv/layer_001\.parquet: truncated or altered"):
        Trace.open(tmp_path / "t")


def test_an_altered_file_of_the_same_size_is_named_when_first_read(
    make_trace: Make, tmp_path: Path
) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/kv/layer_001.parquet"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(bytes(content))
    trace = Trace.open(tmp_path / "t")
    assert trace.key(0, 0).shape == (104, 32)
    with pytest.raises(UserError, match=r"kv/layer_001\.parquet: the file was altered"):
        trace.key(1, 0)
    with pytest.raises(UserError, match=r"kv/layer_001\.parquet: the file was altered"):
        trace.key(1, 0)


def test_a_missing_file_is_named(make_trace: Make, tmp_path: Path) -> None:
    make_trace(tmp_path / "t")
    (tmp_path / "t/queries/layer_000.parquet").unlink()
    with pytest.raises(UserError, match=r"queries/layer_000\.parquet: the file is missing"):
        Trace.open(tmp_path / "t")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, r"trace schema 99 is newer than 3"),
        ({"schema_version": "x"}, r"schema_version is 'x'"),
        ({"dtype": "float8"}, r'dtype is "float8", allowed: one of float16, bfloat16, float32'),
        ({"q_heads": 3}, r"q_heads = 3 is not a multiple of kv_heads = 2"),
        ({"colour": "red"}, r"unknown fields: colour"),
        ({"layers": 3}, r"layers is 3, expected a list"),
        ({"softmax_scale": []}, r"softmax_scale has 0 values for 2 layers"),
    ],
)
def test_a_wrong_manifest_is_refused(
    make_trace: Make, tmp_path: Path, change: dict, message: str
) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        Trace.open(tmp_path / "t")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        Trace.open(tmp_path)


def test_an_unknown_layer_is_refused_with_the_known_ones(tiny_trace: Trace) -> None:
    with pytest.raises(UserError, match="no layer 7 in this trace; known: 0, 1"):
        tiny_trace.key(7, 0)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match="not a location"):
        Trace.open("nowhere://x/y")
