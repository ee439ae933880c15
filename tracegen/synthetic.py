"""Invent a trace of any geometry: for measuring speed and scale, never recall.

Keys come in planted clusters. Neighbouring tokens tend to share a cluster (locality), queries walk
from cluster to cluster, keys and queries carry the rotary embedding of their positions, and the
first tokens are sinks that every query scores highly. Kind `synthetic` marks the result everywhere.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracegen.base.errors import UserError
from tracegen.base.folder import refuse_existing
from tracegen.base.space import free_bytes, in_words
from tracegen.trace.manifest_rules import check
from tracegen.trace.schema import (
    ITEM_BYTES,
    MANIFEST,
    MOST_LAYERS,
    PROMPT_QUERIES,
    Manifest,
    estimate_bytes,
)
from tracegen.trace.store import Trace, Vectors
from tracegen.trace.writer import TraceWriter

Array = npt.NDArray[np.float32]
_CENTRE = 1.6  # per-element size of a cluster's centre, against noise of 1
_DEFAULT_CLUSTERS = 64
_SINK = 3.0
_ATTRACTION = 0.8


@dataclass(frozen=True, slots=True)
class Synthesis:
    """Geometry and statistics of an invented trace; the meaning of each is the command's help."""

    layers: int = 1
    q_heads: int = 8
    kv_heads: int = 2
    head_dim: int = 128
    prompt_tokens: int = 4096
    decode_steps: int = 128
    dtype: str = "float16"
    clusters: int = _DEFAULT_CLUSTERS
    sinks: int = 4
    run_tokens: int = 16
    rope_theta: float = 500_000.0
    prompt_attention: bool = False
    seed: int = 0

    def manifest(self) -> Manifest:
        """Return the manifest that the trace will have.

        Raises:
            UserError: the geometry is impossible; all problems in one message.
        """
        problems = [
            f"--{one.name.replace('_', '-')} is {getattr(self, one.name)!r}, give at least {least}"
            for one in fields(self)
            if type(getattr(self, one.name)) is int
            and getattr(self, one.name) < (least := 0 if one.name in ("sinks", "seed") else 1)
        ]
        if self.layers > MOST_LAYERS:
            problems.append(f"--layers is {self.layers}, give at most {MOST_LAYERS:,}")
        most = max(_DEFAULT_CLUSTERS, self.prompt_tokens + self.decode_steps)
        if self.clusters > most:
            problems.append(f"--clusters is {self.clusters}; give at most one a token, {most}")
        if self.head_dim % 2:
            problems.append(f"--head-dim is {self.head_dim}; the rotary embedding needs pairs")
        if self.rope_theta <= 1:
            problems.append(f"--rope-theta is {self.rope_theta:g}; give more than 1")
        if self.dtype not in ITEM_BYTES:
            problems.append(f"--dtype is {self.dtype!r}; allowed: {', '.join(ITEM_BYTES)}")
        if problems:
            raise UserError("; ".join(problems))
        manifest = Manifest(
            kind="synthetic",
            model="synthetic: planted clusters, not a model",
            layers=tuple(range(self.layers)),
            q_heads=self.q_heads,
            kv_heads=self.kv_heads,
            head_dim=(self.head_dim,) * self.layers,
            dtype=self.dtype,
            prompt_tokens=self.prompt_tokens,
            decode_steps=self.decode_steps,
            softmax_scale=(self.head_dim**-0.5,) * self.layers,
            sliding_window=(None,) * self.layers,
            prompt_queries=min(PROMPT_QUERIES, self.prompt_tokens),
            has_prompt_attention=self.prompt_attention,
            rope={"rope_theta": self.rope_theta, "rope_type": "default"},
            prompt={"synthesis": asdict(self)},
            versions={"tracegen": version("pimreplay"), "numpy": np.__version__},
        )
        problems = check(manifest)
        if problems:
            raise UserError("; ".join(problems))
        return manifest


def synthesize_trace(
    synthesis: Synthesis,
    out: str | Path,
    *,
    max_gb: float | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> Trace:
    """Write an invented trace, one KV head at a time.

    Raises:
        UserError: an impossible geometry, a trace above `max_gb` or the disk, a folder that exists.
    """
    manifest = synthesis.manifest()
    refuse_existing(out, overwrite=overwrite, marker=MANIFEST)
    size = estimate_bytes(manifest)
    announce(f"synthetic, {len(manifest.layers)} layers x {manifest.tokens:,}: {in_words(size)}")
    if max_gb is not None and size > max_gb * 1e9:
        raise UserError(
            f"the trace would take about {in_words(size)} and --max-gb allows "
            f"{in_words(max_gb * 1e9)}; raise it or ask for less"
        )
    free = free_bytes(out)
    if free is not None and size > free:
        raise UserError(
            f"{out}: about {in_words(size)} are needed and {in_words(free)} are free; free "
            "space or choose another folder"
        )
    with TraceWriter(out, manifest, overwrite=overwrite) as writer:
        for layer in manifest.layers:
            _write_layer(synthesis, writer, layer)
        writer.write_tokens()
    return Trace.open(out)


def _write_layer(synthesis: Synthesis, writer: TraceWriter, layer: int) -> None:
    manifest = writer.manifest
    group, n_prompt = manifest.group, manifest.prompt_tokens
    shape = (manifest.q_heads, manifest.decode_steps, manifest.head_dim[0])
    query = np.empty(shape, dtype=_bits(np.empty(0, np.float32), manifest.dtype).dtype)
    kept = manifest.prompt_queries
    prompt_query = np.empty((manifest.q_heads, kept, manifest.head_dim[0]), dtype=query.dtype)
    sums = [np.empty((manifest.q_heads, n_prompt), np.float32) for _ in range(2)]

    def heads() -> Any:
        for kv_head in range(manifest.kv_heads):
            made = _Head(synthesis, layer, kv_head)
            rows = slice(kv_head * group, (kv_head + 1) * group)
            key = made.keys()
            stored = _bits(key, manifest.dtype)
            for index in range(group):
                first = n_prompt - (n_prompt if synthesis.prompt_attention else kept)
                vectors = made.queries(np.arange(first, manifest.tokens))
                query[rows][index] = _bits(vectors[n_prompt - first :], manifest.dtype)
                last = vectors[n_prompt - first - kept : n_prompt - first]
                prompt_query[rows][index] = _bits(last, manifest.dtype)
                if synthesis.prompt_attention:
                    found = _column_sums(vectors[:n_prompt], key[:n_prompt], manifest)
                    sums[0][rows][index], sums[1][rows][index] = found
            yield stored, _bits(made.values(), manifest.dtype)

    writer.write_kv(layer, heads())
    writer.write_queries(layer, query)
    writer.write_prompt(
        layer, prompt_query, (sums[0], sums[1]) if manifest.has_prompt_attention else None
    )


class _Head:
    """One KV head: its clusters, which token belongs to which, and the vectors."""

    def __init__(self, synthesis: Synthesis, layer: int, kv_head: int) -> None:
        self._synthesis = synthesis
        self._rng = np.random.default_rng([synthesis.seed, layer, kv_head])
        n_tokens = synthesis.prompt_tokens + synthesis.decode_steps
        shape = (synthesis.clusters, synthesis.head_dim)
        self._centre = _CENTRE * self._rng.standard_normal(shape, dtype=np.float32)
        self._value_centre = self._rng.standard_normal(shape, dtype=np.float32)
        self._cluster = self._walk(n_tokens)
        # A sink is read from everywhere: its direction lies where the rotation is slowest.
        self._sink = np.zeros(synthesis.head_dim, dtype=np.float32)
        slow = max(1, synthesis.head_dim // 16)
        half = synthesis.head_dim // 2
        self._sink[half - slow : half] = _SINK
        self._sink[-slow:] = _SINK

    def keys(self) -> Array:
        """Return (tokens, head_dim)."""
        key = self._centre[self._cluster] + self._noise(len(self._cluster))
        sinks = min(self._synthesis.sinks, len(key))
        key[:sinks] = 2 * self._sink + self._noise(sinks)
        return self._rotate(key, np.arange(len(key)))

    def values(self) -> Array:
        """Return (tokens, head_dim)."""
        value = self._value_centre[self._cluster] + self._noise(len(self._cluster))
        value[: self._synthesis.sinks] *= 0.05
        return value

    def queries(self, position: npt.NDArray[Any]) -> Array:
        """Return one query head's vectors at given positions, (n, head_dim)."""
        wanted = self._walk(len(position))
        query = _ATTRACTION * self._centre[wanted] + self._noise(len(position)) + 0.5 * self._sink
        return self._rotate(query, position)

    def _walk(self, n: int) -> npt.NDArray[np.int64]:
        """Return a walk over clusters that stays `run_tokens` on average."""
        moves = self._rng.random(n) < 1 / self._synthesis.run_tokens
        moves[0] = True
        targets = self._rng.integers(self._synthesis.clusters, size=n)
        return targets[np.maximum.accumulate(np.where(moves, np.arange(n), 0))]

    def _noise(self, n: int) -> Array:
        return self._rng.standard_normal((n, self._synthesis.head_dim), dtype=np.float32)

    def _rotate(self, vectors: Array, position: npt.NDArray[Any]) -> Array:
        """Apply the rotary embedding, half by half as transformers does."""
        half = vectors.shape[1] // 2
        frequency = self._synthesis.rope_theta ** (-np.arange(half) / half)
        angle = position[:, None] * frequency
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        first, second = vectors[:, :half], vectors[:, half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=1)


def _column_sums(query: Array, key: Array, manifest: Manifest) -> tuple[Array, Array]:
    import torch

    from tracegen.capture.prompt_attention import attend_in_tiles

    keys = torch.from_numpy(key)[None]
    _, plain, decayed = attend_in_tiles(
        torch.from_numpy(query)[None], keys, keys, manifest.softmax_scale[0], None, None
    )
    return plain[0].numpy(), decayed[0].numpy()


def _bits(vectors: Array, dtype: str) -> Vectors:
    """Return float32 vectors in a trace's type; bfloat16 by rounding to nearest even."""
    if dtype == "float32":
        return vectors.astype(np.float32)
    if dtype == "float16":
        return vectors.astype(np.float16)
    raw = vectors.astype(np.float32).view(np.uint32)
    return ((raw + 0x7FFF + ((raw >> 16) & 1)) >> 16).astype(np.uint16)
