"""The tracegen command as a user types it: outputs, exit codes, one clear sentence."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tracegen.main import tracegen

CODE = "from tracegen.main import tracegen; tracegen()"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command in this process, as the console script does."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run_words(*words: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["tracegen", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            tracegen()
        out, err = capsys.readouterr()
        return Done(int(stop.value.code or 0), out, err)

    return run_words


def refused(done: Done, *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: "), done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_capture_info_and_verify(run: Run, llama_folder: Path, tmp_path: Path) -> None:
    words = ("--model", llama_folder, "--prompt", "needle:tokens=600,seed=3")
    done = run("capture", *words, "--decode-steps", "9", "--out", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    assert "2 layers x 609 tokens" in done.stdout.splitlines()[0]
    manifest = json.loads((tmp_path / "t/manifest.json").read_text())
    assert (manifest["dtype"], manifest["prompt_tokens"]) == ("bfloat16", 600)
    assert manifest["prompt"]["task"] == "needle"
    assert "4 query, 2 KV, head_dim 16, bfloat16" in run("info", tmp_path / "t").stdout
    verified = run("verify", tmp_path / "t")
    assert verified.returncode == 0
    assert "relative error at most" in verified.stdout
    refused(run("capture", *words, "--out", tmp_path / "t"), "exists already", "--overwrite")
    path = tmp_path / "t/queries/layer_001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    refused(run("verify", tmp_path / "t"), "queries/layer_001.parquet", "altered")


@pytest.mark.filterwarnings("ignore")
def test_teacher_forced_takes_the_end_of_the_file(
    run: Run, llama_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a tale of two cities " * 5)
    done = run(
        *("capture", "--model", llama_folder, "--prompt-file", tmp_path / "p.txt"),
        *("--decode-steps", "5", "--teacher-forced", "--layers", "1", "--dtype", "float32"),
        *("--out", tmp_path / "t"),
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "t/manifest.json").read_text())
    assert manifest["teacher_forced"] and manifest["layers"] == [1]
    assert (manifest["prompt_tokens"], manifest["decode_steps"]) == (100, 5)
    assert manifest["dtype"] == "float32"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--model", "referense", "--prompt", "needle"], ["referense", "did you mean reference?"]),
        (["--model", "{model}", "--prompt", "neddle"], ["neddle", "did you mean needle?"]),
        (["--model", "{model}", "--prompt", "needle:size=3"], ["'size'", "known: seed, tokens"]),
        (["--model", "{model}", "--prompt", "needle:tokens=x"], ["tokens is 'x'"]),
        (["--model", "{model}", "--prompt", "needle:seed=1,seed=2"], ["'seed' is given twice"]),
        (["--model", "{model}", "--prompt", "needle"], ["beyond the context", "2,048"]),
        (["--model", "{model}", "--prompt-file", "{empty}"], ["the text is empty"]),
        (["--model", "{model}", "--prompt-file", "nowhere.txt"], ["nowhere.txt"]),
        (["--model", "{model}"], ["either --prompt TASK or --prompt-file"]),
        (["--model", "{empty}", "--prompt", "needle"], ["a file that is not a .gguf file"]),
        (["--model", "{model}", "--prompt", "text", "--layers", "a-b"], ["--layers a-b"]),
        (["--model", "{model}", "--prompt", "text", "--dtype", "int8"], ["int8", "float16"]),
        (["--model", "{model}", "--prompt", "text", "--device", "tpu9"], ["device tpu9"]),
        (["--model", "{model}", "--prompt", "text", "--max-gb", "-1"], ["--max-gb is -1"]),
        (
            ["--model", "{model}", "--prompt", "text:tokens=500", "--max-gb", "0.0001"],
            ["--max-gb allows 100.0 kB"],
        ),
    ],
)
def test_bad_words_are_refused_in_one_sentence(
    run: Run, llama_folder: Path, tmp_path: Path, words: list[str], parts: list[str]
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    named = [one.format(model=llama_folder, empty=tmp_path / "empty.txt") for one in words]
    refused(run("capture", *named, "--out", tmp_path / "t"), *parts)
    assert [one.name for one in tmp_path.iterdir()] == ["empty.txt"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_capture_is_never_taken_for_a_trace(
    run: Run, llama_folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    words = ["capture", "--model", str(llama_folder), "--prompt", "text:tokens=100"]
    words += ["--decode-steps", "1900", "--out", str(tmp_path / "t")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words], stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob(".t.partial-*/scratch/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, message = process.communicate(timeout=60)
    assert not (tmp_path / "t").exists()
    if how == signal.SIGINT:
        assert process.returncode == 2 and message.count("\n") == 1, message
        assert not any(tmp_path.iterdir())
    else:
        refused(run("info", tmp_path / "t"), "no trace here")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "call", ["tracegen.capture.spill.os.pwrite", "tracegen.trace.writer.os.fsync"]
)
def test_a_full_disk_ends_a_capture_in_one_sentence(
    run: Run, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(call, full)
    words = ("--model", llama_folder, "--prompt", "text:tokens=50", "--decode-steps", "2")
    refused(run("capture", *words, "--out", tmp_path / "t"), "No space left on device")
    assert not any(tmp_path.iterdir())


def test_import_and_synthesize(run: Run, tmp_path: Path) -> None:
    vectors = np.zeros((2, 6, 8), np.float16)
    np.savez(tmp_path / "a.npz", query=vectors[:, :2], key=vectors, value=vectors, prefill_tokens=4)
    assert run("import", tmp_path / "a.npz", "--out", tmp_path / "i").returncode == 0
    refused(run("import", tmp_path / "b.npz", "--out", tmp_path / "j"), "no such file")
    words = ("--prompt-tokens", "200", "--decode-steps", "3", "--head-dim", "16")
    done = run("synthesize", *words, "--out", tmp_path / "s")
    assert done.returncode == 0 and done.stdout.startswith("synthetic")
    assert "synthetic" in run("info", tmp_path / "s").stdout
    refused(run("synthesize", "--q-heads", "3", "--out", tmp_path / "x"), "q_heads = 3")


def test_a_trace_that_does_not_agree_with_its_output_fails_the_check(
    run: Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, 6, 8)).astype(np.float16)
    np.savez(
        tmp_path / "a.npz",
        **{"query": vectors[:, :2], "key": vectors, "value": vectors, "prefill_tokens": 4},
        output=vectors[:, :2],
    )
    assert run("import", tmp_path / "a.npz", "--out", tmp_path / "i").returncode == 0
    done = run("verify", tmp_path / "i")
    assert done.returncode == 1
    assert "recomputed attention differs" in done.stderr


@pytest.mark.parametrize("command", ["capture", "import", "synthesize", "info", "verify"])
def test_help_answers_without_the_heavy_libraries(command: str) -> None:
    code = (
        "import sys; sys.argv = ['tracegen', sys.argv[1], '--help']\n"
        "import contextlib\n"
        "with contextlib.suppress(SystemExit):\n"
        "    from tracegen.main import tracegen; tracegen()\n"
        "heavy = {'torch', 'transformers', 'polars', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
