"""Fixtures that several packages' tests share."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tracegen.base.console import run
from tracegen.trace.schema import Manifest
from tracegen.trace.store import Trace
from tracegen.trace.writer import TraceWriter

# In the background of a shell Ctrl-C is ignored, and so it would be by commands that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast examples come depends on what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def write_random_trace(
    where: Path,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    group: int = 2,
    head_dim: int = 32,
    prompt_tokens: int = 96,
    decode_steps: int = 8,
    seed: int = 0,
    kind: str = "synthetic",
    model: str = "random vectors",
    spread: float = 1.0,
    text: Sequence[str] | None = None,
) -> Trace:
    """Write a trace of random float16 vectors, with everything that a capture stores.

    `spread` is their standard deviation: the larger, the fewer tokens hold the attention.
    """
    q_heads = kv_heads * group
    manifest = Manifest(
        kind=kind,
        model=model,
        layers=tuple(range(layers)),
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=(head_dim,) * layers,
        dtype="float16",
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        softmax_scale=(head_dim**-0.5,) * layers,
        sliding_window=(None,) * layers,
        has_output=True,
        prompt_queries=min(128, prompt_tokens),
        has_prompt_attention=True,
    )
    rng = np.random.default_rng(seed)

    def vectors(heads: int, rows: int) -> np.ndarray:
        return (spread * rng.standard_normal((heads, rows, head_dim))).astype(np.float16)

    def sums() -> np.ndarray:
        return rng.random((q_heads, prompt_tokens), dtype=np.float32)

    with TraceWriter(where, manifest) as writer:
        for layer in manifest.layers:
            writer.write_layer(
                layer,
                key=vectors(kv_heads, manifest.tokens),
                value=vectors(kv_heads, manifest.tokens),
                query=vectors(q_heads, decode_steps),
                output=vectors(q_heads, decode_steps),
                prompt_query=vectors(q_heads, manifest.prompt_queries),
                prompt_attention=(sums(), sums()),
            )
        writer.write_tokens(token_id=list(range(manifest.tokens)), text=text)
    return Trace.open(where)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pimreplay_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Command]:
    """Return a function of a command's name; what that returns runs it in an empty folder.

    Exit code, output and errors are returned.
    """
    monkeypatch.chdir(tmp_path)

    def named(name: str) -> Command:
        def command(*arguments: str) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "argv", ["pimreplay", name, *arguments])
            with pytest.raises(SystemExit) as stop:
                run("pimreplay.cli")
            seen = capsys.readouterr()
            code = stop.value.code
            return (code if isinstance(code, int) else 0), seen.out, seen.err

        return command

    return named


@pytest.fixture(scope="session")
def make_trace() -> Callable[..., Trace]:
    """Return the function that writes a random trace: `make_trace(path, layers=..., ...)`."""
    return write_random_trace


@pytest.fixture(scope="session")
def tiny_trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Return a small random trace: 2 layers, 4 query heads, 2 KV heads, 96 + 8 tokens."""
    return write_random_trace(tmp_path_factory.mktemp("traces") / "tiny")
