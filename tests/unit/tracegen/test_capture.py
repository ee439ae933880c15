"""A capture stores what the model computed, within its limits, and leaves the model alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from tracegen.base.errors import UserError
from tracegen.capture.generation import generate
from tracegen.capture.growing_cache import _GrowingLayer, reserve
from tracegen.capture.interface import NAME
from tracegen.capture.model import LoadedModel
from tracegen.capture.plan import Request
from tracegen.capture.prompt_attention import attend_in_tiles
from tracegen.capture.recording import Call, recording
from tracegen.capture.run import capture
from tracegen.capture.spill import to_numpy
from tracegen.trace.store import Trace
from tracegen.trace.verify import verify

PROMPT = list(range(3, 203))


class Kept:
    """Sink that keeps copies of every call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def record(self, call: Call) -> None:
        copies = {name: getattr(call, name).clone() for name in ("query", "key", "value", "output")}
        self.calls.append(replace(call, **copies))


def registered() -> bool:
    return NAME in AttentionInterface._global_mapping or (
        NAME in AttentionMaskInterface._global_mapping
    )


def test_the_recording_function_is_there_inside_the_block_and_gone_after(
    llama: LoadedModel,
) -> None:
    before = llama.model.config._attn_implementation
    with recording(llama.model, Kept()):
        assert registered()
        assert llama.model.config._attn_implementation == NAME
    assert not registered()
    assert llama.model.config._attn_implementation == before


def test_the_recording_function_is_gone_after_a_failure(llama: LoadedModel) -> None:
    with pytest.raises(RuntimeError), recording(llama.model, Kept()):
        raise RuntimeError
    assert not registered()
    assert llama.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_stored_bytes_are_the_models_own(
    llama: LoadedModel, tmp_path: Path, dtype: torch.dtype
) -> None:
    loaded = LoadedModel("tiny", llama.model.to(dtype), llama.tokenizer)
    trace = capture(loaded, Request(PROMPT, 40), tmp_path / "t")
    kept = Kept()
    with recording(loaded.model, kept):
        generate(loaded.model, PROMPT, 40)
    name = str(dtype).removeprefix("torch.")
    assert trace.manifest.dtype == name
    for layer in (0, 1):
        calls = [call for call in kept.calls if call.layer == layer]
        last = calls[-1]
        for kv_head in (0, 1):
            heads = slice(2 * kv_head, 2 * kv_head + 2)
            key, value = last.key[kv_head], last.value[kv_head]
            assert trace.key(layer, kv_head).tobytes() == to_numpy(key, name).tobytes()
            assert trace.value(layer, kv_head).tobytes() == to_numpy(value, name).tobytes()
            query = torch.stack([call.query[heads, 0] for call in calls[1:]], dim=1)
            assert trace.query(layer, kv_head).tobytes() == to_numpy(query, name).tobytes()
            output = torch.stack([call.output[heads, 0] for call in calls[1:]], dim=1)
            stored = trace.output(layer, kv_head)
            assert stored is not None and stored.tobytes() == to_numpy(output, name).tobytes()
            prompt_query = trace.prompt_query(layer, kv_head)
            assert prompt_query is not None and prompt_query.shape == (2, 128, 16)
            expected = to_numpy(calls[0].query[heads, -128:], name)
            assert prompt_query.tobytes() == expected.tobytes()
    assert not verify(trace).problems


def test_tokens_are_the_ones_that_the_model_generates_on_its_own(
    llama: LoadedModel, tmp_path: Path
) -> None:
    trace = capture(llama, Request(PROMPT, 12), tmp_path / "t")
    alone = llama.model.generate(
        torch.tensor([PROMPT]), max_new_tokens=12, min_new_tokens=12, do_sample=False
    )
    # An end of text does not end a capture, and generate() may not choose one here.
    tokens = trace.tokens()
    if 2 not in tokens["token_id"][200:].to_list():
        assert tokens["token_id"].to_list() == alone[0].tolist()
    assert tokens["position"].to_list() == list(range(212))
    assert tokens["text"][10] == llama.tokenizer.decode([PROMPT[10]])
    assert tokens["log_prob"][:200].null_count() == 200
    assert (tokens["log_prob"][200:] < 0).all()


def test_a_sliding_window_keeps_keys_that_the_cache_has_dropped(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    options["num_key_value_heads"] = 2
    model = build_model("MistralConfig", sliding_window=16, vocab_size=210, **options)
    trace = capture(LoadedModel("m", model, None), Request(PROMPT, 33), tmp_path / "t")
    assert trace.manifest.sliding_window == (16, 16)
    assert trace.key(0, 0).shape == (233, 16)
    assert np.abs(trace.key(0, 0)).sum(axis=1).min() > 0
    assert not verify(trace).problems


def test_a_cache_that_forgets_without_a_window_is_refused(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = _GrowingLayer.update

    def forgetting(self: Any, *new: Any, **others: Any) -> Any:
        key, value = update(self, *new, **others)
        return key[:, :, -150:], value[:, :, -150:]

    monkeypatch.setattr(_GrowingLayer, "update", forgetting)
    with pytest.raises(UserError, match="cache of layer 0 holds 150 of 160 tokens"):
        capture(llama, Request(PROMPT[:140], 20), tmp_path / "t")
    assert not any(tmp_path.iterdir())


def test_a_prompts_cache_grows_in_place_and_holds_what_the_librarys_holds(
    llama: LoadedModel,
) -> None:
    new = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        caches = [llama.model(input_ids=torch.tensor([PROMPT])).past_key_values for _ in range(2)]
        reserve(caches[1], 3)
        place = caches[1].layers[0].keys.data_ptr()
        for step in range(3):
            ids = new[:, step : step + 1]
            plain, grown = (llama.model(input_ids=ids, past_key_values=one) for one in caches)
            assert torch.equal(plain.logits, grown.logits)
    for one, other in zip(*(cache.layers for cache in caches), strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)
    assert caches[1].get_seq_length() == len(PROMPT) + 3
    assert caches[1].layers[0].keys.data_ptr() == place


def test_prompt_longer_than_its_window_attends_within_it(build_model: Callable[..., Any]) -> None:
    options = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    options["num_key_value_heads"] = 2
    model = build_model("MistralConfig", sliding_window=100, vocab_size=210, **options)
    ids = (PROMPT * 3)[:600]
    kept = Kept()
    with recording(model, kept):
        _, recorded = generate(model, ids, 1)
    _, own = generate(model, ids, 1)
    np.testing.assert_allclose(recorded, own, atol=1e-5)


@pytest.mark.parametrize("window", [None, 1, 7, 64])
@pytest.mark.parametrize("soft_cap", [None, 5.0])
def test_attention_in_tiles_is_that_of_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch, window: int | None, soft_cap: float | None
) -> None:
    monkeypatch.setattr("tracegen.capture.prompt_attention._TILE_BYTES", 8192)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(4, 150, 8, generator=generator)
    key, value = torch.randn(2, 2, 150, 8, generator=generator)
    output, plain, decayed = attend_in_tiles(query, key, value, 0.5, soft_cap, window)
    logits = (query.view(2, 2, 150, 8) @ key[:, None].transpose(2, 3)).view(4, 150, 150) * 0.5
    if soft_cap is not None:
        logits = soft_cap * torch.tanh(logits / soft_cap)
    row, column = torch.arange(150)[:, None], torch.arange(150)[None]
    hidden = (column > row) | (column <= row - (window or 150))
    weight = logits.masked_fill(hidden, float("-inf")).softmax(-1)
    decay = 0.98 ** torch.arange(149, -1, -1)
    torch.testing.assert_close(plain, weight.sum(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decayed, (decay[:, None] * weight).sum(1), rtol=1e-5, atol=1e-5)
    mixed = weight @ value.repeat_interleave(2, 0)
    torch.testing.assert_close(output, mixed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_recording_leaves_the_models_numbers_as_they_were(
    llama: LoadedModel, dtype: torch.dtype
) -> None:
    model = llama.model.to(dtype)
    model.set_attn_implementation("sdpa")
    with recording(model, Kept()):
        ids, log_probs = generate(model, PROMPT, 5)
    own_ids, own_log_probs = generate(model, PROMPT, 5)
    assert ids == own_ids
    # A prompt is attended in float32, the steps as the model attends them.
    np.testing.assert_allclose(log_probs, own_log_probs, atol=32 * torch.finfo(dtype).eps)


def test_only_the_layers_asked_for_are_kept(llama: LoadedModel, tmp_path: Path) -> None:
    trace = capture(llama, Request(PROMPT, 3, layers=[1]), tmp_path / "t")
    everything = capture(llama, Request(PROMPT, 3), tmp_path / "all")
    assert trace.manifest.layers == (1,)
    assert (trace.key(1, 1) == everything.key(1, 1)).all()


def test_forced_tokens_are_fed_and_scored(llama: LoadedModel, tmp_path: Path) -> None:
    forced = [9, 8, 7, 6]
    trace = capture(llama, Request(PROMPT, 4, forced_ids=forced), tmp_path / "t")
    tokens = trace.tokens()
    assert trace.manifest.teacher_forced
    assert tokens["token_id"][200:].to_list() == forced
    with torch.inference_mode():
        logits = llama.model(torch.tensor([PROMPT + forced])).logits[0]
    expected = torch.log_softmax(logits, -1)[199:203].gather(1, torch.tensor(forced)[:, None])
    np.testing.assert_allclose(tokens["log_prob"][200:], expected[:, 0], atol=1e-4)


def test_a_prompt_of_one_token_is_captured(llama: LoadedModel, tmp_path: Path) -> None:
    trace = capture(llama, Request([5], 3), tmp_path / "t")
    assert (trace.manifest.prompt_tokens, trace.manifest.prompt_queries) == (1, 1)
    assert not verify(trace).problems


def test_two_captures_of_one_request_have_one_hash(llama: LoadedModel, tmp_path: Path) -> None:
    one = capture(llama, Request(PROMPT, 3), tmp_path / "a")
    two = capture(llama, Request(PROMPT, 3), tmp_path / "b")
    assert one.hash == two.hash


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([], 3), "the prompt is empty"),
        (Request(PROMPT, 0), "--decode-steps is 0; give at least 1"),
        (Request(PROMPT, 2000), r"beyond the context of tiny, 2,048 tokens"),
        (Request(PROMPT, 3, layers=[0, 5]), r"no attention in layer 5 .*; known: 0, 1"),
        (Request(PROMPT, 3, max_gb=1e-5), r"--max-gb allows 10.0 kB"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_written(
    llama: LoadedModel, tmp_path: Path, request_: Request, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        capture(llama, request_, tmp_path / "t")
    assert not any(tmp_path.iterdir())


def test_the_size_is_announced_before_the_model_runs(llama: LoadedModel, tmp_path: Path) -> None:
    lines: list[str] = []
    trace = capture(llama, Request(PROMPT, 50), tmp_path / "t", announce=lines.append)
    size = sum(one.size_bytes for one in trace.manifest.files)
    assert lines == ["2 layers x 250 tokens of tiny: about 301.8 kB, in float32"]
    assert 200_000 < size < 400_000


def test_too_small_a_disk_is_refused(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracegen.capture.run.free_bytes", lambda _: 1000)
    with pytest.raises(UserError, match="are needed while the trace is made"):
        capture(llama, Request(PROMPT, 3), tmp_path / "t")


def test_an_existing_trace_is_refused_before_the_model_runs(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = capture(llama, Request(PROMPT, 3), tmp_path / "t")
    with pytest.raises(UserError, match="exists already"):
        capture(llama, Request(PROMPT, 4), tmp_path / "t")
    capture(llama, Request(PROMPT, 4), tmp_path / "t", overwrite=True)
    assert Trace.open(tmp_path / "t").hash != first.hash
    assert [one.name for one in tmp_path.iterdir()] == ["t"]


def test_a_capture_that_fails_halfway_leaves_nothing(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        assert any(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("tracegen.capture.run._texts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        capture(llama, Request(PROMPT, 3), tmp_path / "t")
    assert not any(tmp_path.iterdir())
    assert not registered()


def test_the_text_of_tokens_keeps_spaces_that_a_decoder_strips(
    llama: LoadedModel, tmp_path: Path
) -> None:
    pieces = ["<unk>", "▁The", "▁letter", "▁lay", ".", "a", "▁a"]
    model = models.WordLevel({piece: index for index, piece in enumerate(pieces)}, "<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    # as Llama 2 has it: the first space of a text is the tokenizer's own
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    assert fast.decode([2]) == "letter"
    loaded = LoadedModel("tiny", llama.model, fast)
    trace = capture(loaded, Request([1, 2, 3, 4], 1), tmp_path / "t")
    assert trace.tokens()["text"].to_list()[:4] == [" The", " letter", " lay", "."]
