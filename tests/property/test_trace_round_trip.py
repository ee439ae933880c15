"""Any trace of any geometry reads back as it was written; tiles never change a column sum."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracegen.capture.prompt_attention import attend_in_tiles
from tracegen.trace.rows import first_not_finite
from tracegen.trace.schema import NUMPY_DTYPE, Manifest
from tracegen.trace.store import Trace
from tracegen.trace.writer import TraceWriter


@settings(max_examples=12, deadline=None)
@given(
    dtype=st.sampled_from(sorted(NUMPY_DTYPE)),
    layers=st.lists(st.integers(0, 200), min_size=1, max_size=2, unique=True),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    head_dim=st.integers(1, 9),
    shared=st.booleans(),
    prompt_tokens=st.integers(1, 40),
    decode_steps=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_bit_pattern_of_a_finite_number_survives(
    dtype: str,
    layers: list[int],
    kv_heads: int,
    group: int,
    head_dim: int,
    shared: bool,
    prompt_tokens: int,
    decode_steps: int,
    seed: int,
) -> None:
    # every second layer is one larger, and where they share, reads what the first of its size does
    sizes = {layer: head_dim + index % 2 for index, layer in enumerate(layers)}
    owner = {layer: layers[index % 2] for index, layer in enumerate(layers)}
    manifest = Manifest(
        kind="imported",
        model="bits",
        layers=tuple(layers),
        q_heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=tuple(sizes.values()),
        kv_layer=tuple(owner.values()) if shared else (),
        dtype=dtype,
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        softmax_scale=(1.0,) * len(layers),
        sliding_window=(None,) * len(layers),
        has_output=True,
        prompt_queries=min(prompt_tokens, 7),
    )
    rng = np.random.default_rng(seed)
    numpy_dtype = np.dtype(NUMPY_DTYPE[dtype])

    def bits(layer: int, heads: int, rows: int) -> np.ndarray:
        shape = (heads, rows, sizes[layer])
        raw = rng.bytes(np.prod(shape) * numpy_dtype.itemsize)
        numbers = np.frombuffer(raw, numpy_dtype).reshape(shape).copy()
        while (place := first_not_finite(numbers, dtype)) is not None:
            numbers[place] = 0
        return numbers

    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "t"
        written = {}
        with TraceWriter(where, manifest) as writer:
            for layer in layers:
                written[layer] = {
                    "key": bits(layer, kv_heads, manifest.tokens),
                    "value": bits(layer, kv_heads, manifest.tokens),
                    "query": bits(layer, manifest.q_heads, decode_steps),
                    "output": bits(layer, manifest.q_heads, decode_steps),
                    "prompt_query": bits(layer, manifest.q_heads, manifest.prompt_queries),
                }
                writer.write_layer(layer, **written[layer])
            writer.write_tokens()
        trace = Trace.open(where)
        for layer in layers:
            for kv_head in range(kv_heads):
                heads = slice(kv_head * group, (kv_head + 1) * group)
                for name in ("key", "value"):
                    read = getattr(trace, name)(layer, kv_head)
                    holder = owner[layer] if shared else layer
                    assert read.tobytes() == written[holder][name][kv_head].tobytes()
                for name in ("query", "output", "prompt_query"):
                    read = getattr(trace, name)(layer, kv_head)
                    assert read.tobytes() == written[layer][name][heads].tobytes()


@settings(max_examples=20, deadline=None)
@given(
    tokens=st.integers(1, 90),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    window=st.none() | st.integers(1, 100),
    soft_cap=st.none() | st.floats(1.0, 50.0),
    scale=st.floats(0.01, 40.0),
    sink=st.none() | st.floats(-200.0, 200.0),
    seed=st.integers(0, 1000),
)
def test_tiled_attention_is_attention(
    tokens: int,
    kv_heads: int,
    group: int,
    window: int | None,
    soft_cap: float | None,
    scale: float,
    sink: float | None,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(kv_heads * group, tokens, 4, generator=generator)
    key, value = torch.randn(2, kv_heads, tokens, 4, generator=generator)
    logits = (query @ key.repeat_interleave(group, 0).transpose(1, 2)).double() * scale
    if soft_cap is not None:
        logits = soft_cap * torch.tanh(logits / soft_cap)
    row, column = torch.arange(tokens)[:, None], torch.arange(tokens)[None]
    hidden = (column > row) | (column <= row - (window or tokens))
    logits = logits.masked_fill(hidden, float("-inf"))
    # each query head's sink a little higher than the one before
    sinks = None if sink is None else sink + torch.arange(kv_heads * group, dtype=torch.float32)
    beside = torch.full((len(logits), tokens, 1), float("-inf"))
    if sinks is not None:
        beside = sinks[:, None, None].expand_as(beside)
    weight = torch.cat([logits, beside.double()], dim=-1).softmax(-1)[..., :-1]
    decay = 0.98 ** torch.arange(tokens - 1, -1, -1, dtype=torch.float64)
    output, plain, decayed = attend_in_tiles(query, key, value, scale, soft_cap, window, sinks)
    torch.testing.assert_close(plain.double(), weight.sum(1), rtol=1e-3, atol=1e-4)
    expected = (decay[:, None] * weight).sum(1)
    torch.testing.assert_close(decayed.double(), expected, rtol=1e-3, atol=1e-4)
    mixed = (weight @ value.repeat_interleave(group, 0).double()).float()
    torch.testing.assert_close(output, mixed, rtol=1e-3, atol=1e-3)
