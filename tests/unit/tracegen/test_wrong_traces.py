"""Traces whose checksums fit and whose content is wrong, and values that no trace can have."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracegen.base.errors import UserError
from tracegen.trace.importing import import_arrays
from tracegen.trace.schema import layer_path
from tracegen.trace.store import Trace
from tracegen.trace.verify import verify

Make = Callable[..., Trace]
GROUPS = 2
READ = {
    "kv": lambda trace: trace.key(0, 1),
    "queries": lambda trace: trace.query(0, 1),
    "prompt_queries": lambda trace: trace.prompt_query(0, 1),
    "prompt_attention": lambda trace: trace.prompt_attention(0, 1),
}


def rewrite(where: Path, path: str, groups: list[pa.Table]) -> None:
    """Write other row groups into a file and make the manifest's checksum fit."""
    with pq.ParquetWriter(where / path, groups[0].schema, store_schema=False) as file:
        for one in groups:
            file.write_table(one, row_group_size=max(1, one.num_rows))
    content = (where / path).read_bytes()
    manifest = json.loads((where / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == path:
            entry["size_bytes"] = len(content)
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (where / "manifest.json").write_text(json.dumps(manifest))


def groups_of(where: Path, path: str) -> list[pa.Table]:
    with pq.ParquetFile(where / path) as file:
        return [file.read_row_group(one) for one in range(file.num_row_groups)]


def other_rows(how: str, groups: list[pa.Table]) -> list[pa.Table]:
    """Change the order or number of rows of the second KV head, or of the groups."""
    first, second = groups
    rows = np.arange(second.num_rows)
    shuffled = np.random.default_rng(0).permutation(rows)
    return {
        "reversed": [first, second.take(rows[::-1])],
        "shuffled": [first, second.take(shuffled)],
        "doubled": [first, pa.concat_tables([second, second]).combine_chunks()],
        "one dropped": [first, second.slice(1)],
        "one repeated": [first, second.take(np.concatenate([rows[:1], rows[:-1]]))],
        "groups swapped": [second, first],
        "a group missing": [first],
        "a group more": [first, second, second],
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "reversed",
        "shuffled",
        "doubled",
        "one dropped",
        "one repeated",
        "groups swapped",
        "a group missing",
        "a group more",
    ],
)
@pytest.mark.parametrize("kind", READ)
def test_rows_in_another_order_are_refused_when_first_read(
    make_trace: Make, tmp_path: Path, kind: str, how: str
) -> None:
    make_trace(tmp_path / "t", layers=1)
    path = layer_path(kind, 0)
    rewrite(tmp_path / "t", path, other_rows(how, groups_of(tmp_path / "t", path)))
    with pytest.raises(UserError, match=rf"{path}: (rows of KV head 1|holds \d row groups)"):
        READ[kind](Trace.open(tmp_path / "t"))
    with pytest.raises(UserError, match=path):
        verify(Trace.open(tmp_path / "t"))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("kv", "key"),
        ("kv", "value"),
        ("queries", "query"),
        ("queries", "output"),
        ("prompt_queries", "query"),
        ("prompt_attention", "attention_sum"),
        ("prompt_attention", "attention_sum_decayed"),
    ],
)
def test_values_that_are_not_finite_are_refused_when_first_read(
    make_trace: Make, tmp_path: Path, kind: str, name: str, value: float
) -> None:
    make_trace(tmp_path / "t", layers=1)
    path = layer_path(kind, 0)
    first, second = groups_of(tmp_path / "t", path)
    column = second[name].combine_chunks()
    numbers = np.frombuffer(
        column.buffers()[1], np.float32 if kind == "prompt_attention" else np.float16
    ).copy()
    numbers[len(numbers) - 1] = value  # of the last row
    changed = pa.Array.from_buffers(column.type, len(column), [None, pa.py_buffer(numbers)])
    index = second.column_names.index(name)
    second = second.set_column(index, second.schema.field(name), changed)
    rewrite(tmp_path / "t", path, [first, second])
    row = "kv_head 1, token 103" if kind == "kv" else r"q_head 3, (step 7|token 95)"
    sentence = rf"{path}: {row}: {name} holds a value that is not finite"
    with pytest.raises(UserError, match=sentence):
        READ[kind](Trace.open(tmp_path / "t"))
    with pytest.raises(UserError, match=sentence):
        verify(Trace.open(tmp_path / "t"))


@pytest.mark.parametrize("how", ["reversed", "doubled", "other phases", "NaN"])
def test_tokens_in_another_order_are_refused(make_trace: Make, tmp_path: Path, how: str) -> None:
    make_trace(tmp_path / "t", layers=1)
    (table,) = groups_of(tmp_path / "t", "tokens.parquet")
    rows = np.arange(table.num_rows)
    decode = pa.array(["decode"] * table.num_rows)
    not_a_number = pa.array([np.nan] * table.num_rows, pa.float32())
    changed = {
        "reversed": table.take(rows[::-1]),
        "doubled": pa.concat_tables([table, table]).combine_chunks(),
        "other phases": table.set_column(2, table.schema.field("phase"), decode),
        "NaN": table.set_column(5, table.schema.field("log_prob"), not_a_number),
    }[how]
    rewrite(tmp_path / "t", "tokens.parquet", [changed])
    with pytest.raises(UserError, match=r"tokens\.parquet: (not 96 prompt|log_prob holds)"):
        Trace.open(tmp_path / "t").tokens()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("softmax_scale", [0.2, value]) for value in (0, -1, True, "1", None, [1])),
        *(("soft_cap", value) for value in (0, -1, 0.0, True, "30", [30])),
        *(("sliding_window", [None, value]) for value in (0, -1, 4.7, True, "4")),
        *(("layers", value) for value in ([0, 1.5], [0, -1], [0, True], [], ["0", "1"], {"0": 1})),
        *(("q_heads", value) for value in (10**9, 4.0, "4", True, None, 0, -4)),
        *(("head_dim", value) for value in (10**9, 0, 32.0, None, "32", [32], [32, 0], [[32], 32])),
        *(("kv_layer", value) for value in (0, [0], [0, 7], [1, 0], [0, True], [0, 0.0], None)),
        *(("sink_logit", value) for value in (1.0, [1.0, 2.0], [[1.0] * 3] * 2, [[1.0] * 4], None)),
        ("sink_logit", [["1"] * 4] * 2),
        *(("prompt_tokens", value) for value in (10**12, 96.0, -1)),
        *(("prompt_queries", value) for value in (97, -1, True, 96.0)),
        *(("has_output", value) for value in (1, "yes", None)),
        *(("model", value) for value in (3, "", None, ["x"])),
        *(("kind", value) for value in (3, None, ["captured"])),
        *(("dtype", value) for value in (16, None, ["float16"])),
        *(("versions", value) for value in (3, [], None)),
        *(("rope", value) for value in ("x", None)),
        *(("schema_version", value) for value in (1.0, True, None, [1], 0)),
        *(("files", value) for value in ({}, [3], [{}], [{"path": 3}], [[]], None)),
    ],
)
def test_an_impossible_value_in_a_manifest_is_refused(
    make_trace: Make, tmp_path: Path, field: str, value: object
) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=field) as refused:
        Trace.open(tmp_path / "t")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change", [{"head_dim": [32, 16]}, {"kv_layer": [0, 0]}, {"sink_logit": [[1.0] * 4] * 2}]
)
def test_what_version_3_brought_is_not_taken_from_an_older_trace(
    make_trace: Make, tmp_path: Path, change: dict[str, object]
) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="schema_version is 2 and several head sizes, kv_layer or"):
        Trace.open(tmp_path / "t")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "[" * 100_000, "9" * 5000])
def test_a_number_that_json_does_not_know_is_refused(
    make_trace: Make, tmp_path: Path, text: str
) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    path.write_text(path.read_text().replace('"soft_cap": null', f'"soft_cap": {text}'))
    with pytest.raises(UserError, match=r"manifest\.json: not a usable JSON file"):
        Trace.open(tmp_path / "t")


def test_a_file_outside_the_trace_is_never_listed(make_trace: Make, tmp_path: Path) -> None:
    make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    manifest = json.loads(path.read_text())
    for change in ({"path": "../secret"}, {"path": manifest["files"][1]["path"]}):
        files = [manifest["files"][0] | change, *manifest["files"][1:]]
        path.write_text(json.dumps(manifest | {"files": files}))
        with pytest.raises(UserError, match="is not listed"):
            Trace.open(tmp_path / "t")


def test_a_manifest_may_begin_with_a_byte_order_mark(make_trace: Make, tmp_path: Path) -> None:
    made = make_trace(tmp_path / "t")
    path = tmp_path / "t/manifest.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Trace.open(tmp_path / "t").hash == made.hash


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {
        "query": rng.standard_normal((2, 4, 3, 8)).astype(np.float16),
        "key": rng.standard_normal((2, 2, 13, 8)).astype(np.float16),
        "value": rng.standard_normal((2, 2, 13, 8)).astype(np.float16),
        "output": rng.standard_normal((2, 4, 3, 8)).astype(np.float16),
        "prompt_query": rng.standard_normal((2, 4, 5, 8)).astype(np.float16),
        "prompt_attention": np.ones((2, 4, 10)),
        "prompt_attention_decayed": np.ones((2, 4, 10)),
        "prefill_tokens": np.array(10),
    }
    return made | changes


def test_scale_and_window_may_be_one_value_a_layer(tmp_path: Path) -> None:
    given = arrays(softmax_scale=[0.5, 0.25], sliding_window=[4, -1], soft_cap=30)
    np.savez(tmp_path / "a.npz", **given)
    manifest = import_arrays(tmp_path / "a.npz", tmp_path / "t").manifest
    assert (manifest.softmax_scale, manifest.sliding_window) == ((0.5, 0.25), (4, None))
    assert manifest.soft_cap == 30.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("soft_cap", value) for value in (0, -1, np.nan, np.inf, "30", True, [1, 2])),
        *(("softmax_scale", value) for value in (0, -1, np.nan, [1, 0], "1", [1, 1, 1], True)),
        *(("sliding_window", value) for value in (4.7, 4.0, 0, -2, np.nan, "4", [1, 2, 3], True)),
        *(("layers", value) for value in ([1.5, 2], [0], [0, 0], [-1, 0], ["a", "b"], 3)),
        *(("token_id", value) for value in (np.nan, [1.0] * 13, 3, [3], np.ones((13, 1)))),
        *(("prefill_tokens", value) for value in (10.0, np.nan, -3, 10**9, "10", True, [[10]])),
        *(("dtype", value) for value in ("float64", "bfloat16", 3, ["float16", "float16"])),
        *(("prompt_attention", value) for value in ("x", np.ones((2, 4, 10), complex), -1.0)),
        *(("query", value) for value in ("x", np.ones((2, 4, 3, 8)), np.zeros((0, 0, 0, 0)))),
    ],
)
def test_an_impossible_value_in_an_npz_is_refused(tmp_path: Path, name: str, value: object) -> None:
    np.savez(tmp_path / "a.npz", **arrays(**{name: value}))
    with pytest.raises(UserError) as refused:
        import_arrays(tmp_path / "a.npz", tmp_path / "t")
    assert "\n" not in str(refused.value)
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("key", "layer 1, KV head 1, token 12: key"),
        ("value", "layer 1, KV head 1, token 12: value"),
        ("query", "layer 1, query head 3, token 12: query"),
        ("output", "layer 1, query head 3, token 12: output"),
        ("prompt_query", "layer 1, query head 3, token 9: prompt query"),
        ("prompt_attention", "layer 1, query head 3, token 9: prompt attention"),
        ("prompt_attention_decayed", "layer 1, query head 3, token 9: prompt attention"),
    ],
)
def test_arrays_that_are_not_finite_are_refused_with_their_place(
    tmp_path: Path, name: str, place: str
) -> None:
    given = arrays()
    given[name].flat[given[name].size - 1] = np.inf
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(UserError, match=f"{place} holds a value that is not finite"):
        import_arrays(tmp_path / "a.npz", tmp_path / "t")


def test_both_column_sums_belong_together(tmp_path: Path) -> None:
    given = arrays()
    del given["prompt_attention_decayed"]
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(UserError, match="belong together"):
        import_arrays(tmp_path / "a.npz", tmp_path / "t")


def archive(how: str, path: Path) -> None:
    """Write an .npz with something wrong about it as an archive."""
    np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    if how == "broken deflate":
        content[200:260] = b"\xff" * 60
    elif how == "encrypted":
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = content.find(mark)
            while at >= 0:
                content[at + offset] |= 1
                at = content.find(mark, at + 4)
    elif how == "an unknown method":
        for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            at = content.find(mark)
            while at >= 0:
                content[at + offset] = 97
                at = content.find(mark, at + 4)
    elif how == "a name altered in the directory":
        at = content.rfind(b"prompt_query.npy")
        content[at] ^= 1
    elif how == "truncated":
        del content[len(content) // 2 :]
    if how not in ("a pickle", "a foreign member", "a header of 10^9 heads", "an endless header"):
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays().items():
            if name != "query":
                with file.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asanyarray(array))
        header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1000000000, 4, 8), }\n"
        with file.open("query" if how == "a foreign member" else "query.npy", "w") as member:
            if how == "a pickle":
                np.lib.format.write_array(member, np.array([{}], object), allow_pickle=True)
            elif how == "a foreign member":
                member.write(b"not an array")
            else:
                size = 60_000 if how == "an endless header" else len(header)
                member.write(b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little"))
                member.write(header.encode().ljust(size, b"("))


@pytest.mark.parametrize(
    "how",
    [
        "broken deflate",
        "encrypted",
        "an unknown method",
        "truncated",
        "a name altered in the directory",
        "a pickle",
        "a foreign member",
        "a header of 10^9 heads",
        "an endless header",
    ],
)
def test_an_archive_that_is_not_one_of_arrays_is_refused(tmp_path: Path, how: str) -> None:
    archive(how, tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"a\.npz: ") as refused:
        import_arrays(tmp_path / "a.npz", tmp_path / "t")
    assert "\n" not in str(refused.value)
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]
