"""What is attacked: sound inputs, ways to damage each, and the commands that read it."""

import contextlib
import hashlib
import json
import math
import random
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import pimreplay.hardware
from pimreplay.hardware.preset_files import organisation_values, timing_values
from tests.campaigns.dashboard import odd_address
from tests.campaigns.mutations import (
    damaged_bytes,
    damaged_document,
    damaged_words,
    reordered_table,
    toml_text,
)

Words = list[str]
POINT = ["--policy", "topk", "--budget", "8"]
ATTENTION = "pimreplay attention --hardware device.toml --heads 2 --tokens 64 --head-dim 64".split()
DECODE = ["--prompt-tokens", "64", "--output-tokens", "8", "--batch", "2"]
TASK = ["--task", "needle:tokens=400,prompts=2"]
NEW = ["--out", "new"]
TRACE = "PIM_WR_GB 0x0\n" + "".join(f"PIM_MAC_AB {n * 32:#x}\n" for n in range(20))
SWEEP = {
    "traces": ["trace"],
    "policies": ["topk", "starc:iterations=2"],
    "layouts": ["sequential"],
    "budgets": [8, "0.5"],
    "hardware": ["device.toml"],
    "layers": ["0"],
    "dense_layers": 0,
    "fidelity": "analytic",
    "seed": 0,
}
DEVICE = Path(pimreplay.hardware.__file__).with_name("attacc_hbm3_bank.toml")


@dataclass(frozen=True, slots=True)
class Attack:
    """A damaged input, the command that reads it, and what may come of it."""

    words: Words
    tables: str = ""
    """The folder or file that the command writes, compared with the sound input's."""
    sealed: bool = True
    """Whether another result than the sound input's is a wrong one."""


Target = Callable[[Path, random.Random], Attack]


def make_inputs(folder: Path, run: Callable[[Words], None]) -> None:
    """Make one sound input of each kind; `run` runs a command there."""
    document = tomllib.loads(DEVICE.read_text())
    document["organisation"] |= organisation_values(document["organisation"]["preset"])
    document["timing"] |= timing_values(document["timing"]["preset"])
    (folder / "device.toml").write_text(toml_text(document))
    (folder / "commands.trace").write_text(TRACE)
    (folder / "sweep.toml").write_text(toml_text(SWEEP))
    geometry = "--prompt-tokens 40 --decode-steps 3 --head-dim 16 --q-heads 2 --kv-heads 2"
    run(["tracegen", "synthesize", *geometry.split(), "--prompt-attention", "--out", "trace"])
    rng = np.random.default_rng(0)
    np.savez_compressed(
        folder / "arrays.npz",
        query=rng.standard_normal((4, 3, 8)).astype(np.float16),
        key=rng.standard_normal((2, 13, 8)).astype(np.float16),
        value=rng.standard_normal((2, 13, 8)).astype(np.float16),
        prefill_tokens=10,
        softmax_scale=0.5,
        soft_cap=30.0,
        sliding_window=8,
        token_id=np.arange(13),
    )
    run(["pimreplay", "run", "trace", *POINT, "--workers", "0", "--out", "results"])
    run(["pimreplay", "sweep", "sweep.toml", "--workers", "0", "--out", "cached"])
    run(["pimreplay", "simulate", "commands.trace"])  # compiled once for all the cases
    run(ATTENTION)


def _reader(rng: random.Random) -> Attack:
    """Return one of the commands that read a trace."""
    return rng.choice(
        [
            Attack(["tracegen", "verify", "trace"]),
            Attack(["pimreplay", "explain", "trace", *POINT, "--layer", "0", "--step", "1"]),
            Attack(["pimreplay", "select", "trace", *POINT, "--out", "new.npz"], "new.npz"),
            Attack(["pimreplay", "run", "trace", *POINT, "--workers", "0", "--out", "new"], "new"),
        ]
    )


def _reseal(trace: Path) -> None:
    """Make the checksums of a trace's manifest fit its files."""
    path = trace / "manifest.json"
    manifest = json.loads(path.read_text())
    for one in manifest["files"]:
        content = (trace / one["path"]).read_bytes()
        one |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(manifest))


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.suffix in suffixes)


def trace_bytes(work: Path, rng: random.Random) -> Attack:
    """Any bytes of a trace's files, with the checksums as they were."""
    attack = _reader(rng)
    path = rng.choice(_files(work / "trace", (".parquet",)))
    path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    return attack


def trace_rows(work: Path, rng: random.Random) -> Attack:
    """Rows of a trace in another order or number, with checksums that fit."""
    attack = _reader(rng)
    path = rng.choice(_files(work / "trace", (".parquet",)))
    reordered_table(path, rng)
    _reseal(work / "trace")
    return attack


def trace_values(work: Path, rng: random.Random) -> Attack:
    """A value of a trace that is not finite, with checksums that fit."""
    attack = _reader(rng)
    path = rng.choice(_files(work / "trace", (".parquet",)))
    if path.stem == "tokens":
        return attack
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(one) for one in range(file.num_row_groups)]
    at = rng.randrange(len(groups))
    name = rng.choice(groups[at].column_names[2:])
    column = groups[at][name].combine_chunks()
    kind = np.float32 if pa.types.is_float32(column.type) else np.float16
    numbers = np.frombuffer(column.buffers()[1], kind).copy()
    numbers[rng.randrange(len(numbers))] = rng.choice((math.nan, math.inf, -math.inf))
    changed = pa.Array.from_buffers(column.type, len(column), [None, pa.py_buffer(numbers)])
    index = groups[at].column_names.index(name)
    groups[at] = groups[at].set_column(index, groups[at].schema.field(name), changed)
    with pq.ParquetWriter(path, groups[0].schema, store_schema=False) as file:
        for one in groups:
            file.write_table(one, row_group_size=one.num_rows)
    _reseal(work / "trace")
    return attack


def manifest(work: Path, rng: random.Random) -> Attack:
    """The manifest of a trace: its bytes, or one of its values."""
    attack = _reader(rng)
    path = work / "trace/manifest.json"
    if rng.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        return Attack(attack.words, attack.tables, sealed=False)
    changed, wrong = damaged_document(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(changed))
    return Attack(attack.words, attack.tables, sealed=wrong)


def arrays(work: Path, rng: random.Random) -> Attack:
    """The archive of arrays that is imported: its bytes, or one of its arrays."""
    path = work / "arrays.npz"
    attack = Attack(["tracegen", "import", "arrays.npz", "--out", "new"], "new")
    if rng.random() < 0.5:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        return attack
    with np.load(path) as file:
        given = dict(file)
    name = rng.choice(sorted(given))
    if given[name].ndim > 1:
        given[name].flat[rng.randrange(given[name].size)] = rng.choice((np.nan, np.inf))
    else:
        given[name] = np.array(rng.choice((0.5, -1, 0, np.nan, np.inf, "x", [1.5, 2], 1e308, -2)))
    np.savez_compressed(path, **given)
    # of these values 0.5 and 1e308 are sound scales and caps, -1 is "no window"
    sound_elsewhere = name in ("softmax_scale", "soft_cap", "sliding_window")
    return Attack(attack.words, attack.tables, sealed=not sound_elsewhere)


def results(work: Path, rng: random.Random) -> Attack:
    """A results folder: the bytes or rows of a table, the bytes or a value of `run.json`."""
    words = ["analysis", "compare", "results"]
    path = rng.choice(_files(work / "results", (".parquet", ".json")))
    if path.suffix == ".parquet" and rng.random() < 0.5:
        reordered_table(path, rng)
    elif path.suffix == ".json" and rng.random() < 0.7:
        changed, _ = damaged_document(json.loads(path.read_text()), rng)
        path.write_text(json.dumps(changed))
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    return Attack(words)


def cached_parts(work: Path, rng: random.Random) -> Attack:
    """A finished part of a sweep: its bytes, or another part's file in its place."""
    parts = _files(work / "cached", (".part",))
    one, other = rng.sample(parts, 2)
    if rng.random() < 0.2:
        shutil.copy(other, one)
    else:
        one.write_bytes(damaged_bytes(one.read_bytes(), rng))
    for table in _files(work / "cached", (".parquet", ".json")):
        table.unlink()
    words = ["pimreplay", "sweep", "sweep.toml", "--workers", "0", "--out", "cached"]
    return Attack(words, "cached")


def device(work: Path, rng: random.Random) -> Attack:
    """A device file: its bytes, or one of its values."""
    path = work / "device.toml"
    attack = rng.choice(
        [
            Attack(["pimreplay", "explain", "trace", *POINT, "--hardware", "device.toml"]),
            Attack(ATTENTION),
        ]
    )
    if rng.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        return Attack(attack.words, sealed=False)
    changed, wrong = damaged_document(tomllib.loads(path.read_text()), rng)
    path.write_text(toml_text(changed), encoding="utf-8", errors="surrogatepass")
    return Attack(attack.words, sealed=wrong)


def sweep_file(work: Path, rng: random.Random) -> Attack:
    """A sweep file: its bytes, or one of its values."""
    path = work / "sweep.toml"
    attack = Attack(["pimreplay", "sweep", "sweep.toml", "--workers", "0", "--out", "new"], "new")
    if rng.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        return Attack(attack.words, attack.tables, sealed=False)
    document: dict[str, Any] = tomllib.loads(path.read_text())
    changed, wrong = damaged_document(document, rng)
    path.write_text(toml_text(changed), encoding="utf-8", errors="surrogatepass")
    return Attack(attack.words, attack.tables, sealed=wrong)


def command_trace(work: Path, rng: random.Random) -> Attack:
    """A command trace: its bytes, another address or another command."""
    path = work / "commands.trace"
    lines = path.read_text().splitlines()
    if rng.random() < 0.5:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    else:
        odd = ("PIM_MAC_AB", "LD 0x", "0x0", "ST -1", f"LD {2**70}", "PIM_MAC_AB 0x\x1b", "LD 1e9")
        lines[rng.randrange(len(lines))] = rng.choice(odd)
        path.write_text("\n".join(lines))
    return Attack(["pimreplay", "simulate", "commands.trace", "--json"], sealed=False)


def arguments(work: Path, rng: random.Random) -> Attack:
    """The words of a command line."""
    words = rng.choice(
        [
            ["pimreplay", "explain", "trace", *POINT, "--layer", "0", "--step", "1"],
            ["pimreplay", "run", "trace", *POINT, "--workers", "0", "--layer", "0", "--out", "new"],
            ["pimreplay", "select", "trace", *POINT, "--layer", "0", "--out", "new.npz"],
            ["pimreplay", "attention", "--heads", "2", "--tokens", "64", "--head-dim", "64"],
            ["pimreplay", "simulate", "commands.trace", "--timing", "attacc_hbm3"],
            ["tracegen", "info", "trace"],
            ["tracegen", "import", "arrays.npz", "--out", "new"],
            ["tracegen", "synthesize", "--prompt-tokens", "20", "--clusters", "4", "--out", "new"],
            ["analysis", "compare", "results", "--out", "new.html"],
            ["analysis", "report", "results", "--out", "new.html"],
            ["pimreplay", "sweep", "sweep.toml", "--workers", "0", "--out", "new"],
            ["pimreplay", "selfcheck", "--hardware", "device.toml"],
            ["pimreplay", "decode", "--model", "LLAMA-7B", *DECODE],
            ["tracegen", "verify", "trace"],
            ["tracegen", "capture", "--model", "absent", "--prompt", "needle:tokens=64", *NEW],
            ["analysis", "accuracy", "--model", "absent", "--policy", "topk", *TASK, *NEW],
        ]
    )
    return Attack(damaged_words(words, rng), sealed=False)


def addresses(work: Path, rng: random.Random) -> Attack:
    """An address of the dashboard, or a post to it."""
    with contextlib.chdir(work):
        return Attack(["dashboard", *odd_address(rng)], sealed=False)


TARGETS: tuple[Target, ...] = (
    trace_bytes,
    trace_rows,
    trace_values,
    manifest,
    arrays,
    results,
    cached_parts,
    device,
    sweep_file,
    command_trace,
    arguments,
    addresses,
)
