"""What is computed in and what is stored: two choices, and neither lets bad numbers through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tracegen.base.errors import UserError
from tracegen.capture import dtype
from tracegen.capture.dtype import Types, choose
from tracegen.capture.model import LoadedModel, load
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.capture.weights import weights_sha256
from tracegen.trace.verify import verify

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
PROMPT = list(range(3, 103))


@pytest.mark.parametrize(
    ("asked", "own", "device", "features", "expected"),
    [
        ("auto", F16, CPU, {}, Types(F32, F16)),
        ("auto", F16, CPU, {"avx512_fp16": True}, Types(F16, F16)),
        ("auto", BF16, CPU, {"avx512_fp16": True, "amx_bf16": False}, Types(F32, BF16)),
        ("auto", BF16, CPU, {"amx_bf16": True}, Types(BF16, BF16)),
        ("auto", BF16, CUDA, {}, Types(BF16, BF16)),
        ("auto", F32, CPU, {"amx_bf16": True}, Types(F32, F16)),
        ("auto", torch.float64, CPU, {}, Types(F32, F16)),
        ("auto", None, CPU, {}, Types(F32, F16)),
        ("bfloat16", F16, CPU, {}, Types(BF16, BF16)),
        ("float32", F16, CPU, {}, Types(F32, F32)),
    ],
)
def test_the_types_follow_the_checkpoint_and_the_processor(
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    own: torch.dtype | None,
    device: torch.device,
    features: dict[str, bool],
    expected: Types,
) -> None:
    monkeypatch.setattr(dtype.torch.cpu, "get_capabilities", lambda: features)
    assert choose(asked, own, device) == expected


@pytest.mark.parametrize("stored", [F16, BF16])
def test_what_is_stored_is_what_was_attended(
    llama: LoadedModel, tmp_path: Path, stored: torch.dtype
) -> None:
    trace = capture(replace(llama, stored_dtype=stored), Request(PROMPT, 40), tmp_path / "t")
    exact = capture(llama, Request(PROMPT, 40), tmp_path / "exact")
    assert trace.manifest.dtype == str(stored).removeprefix("torch.")
    assert (trace.manifest.compute_dtype, exact.manifest.compute_dtype) == ("float32", None)
    found = verify(trace)
    assert not found.problems
    # only the recorded output is rounded after the fact: half a unit in its last place
    assert found.output_error_ratio is not None
    assert found.output_error_ratio < torch.finfo(stored).eps
    if stored is F16:
        np.testing.assert_allclose(
            trace.key(0, 1).astype(np.float32), exact.key(0, 1), rtol=1e-3, atol=1e-3
        )


@pytest.mark.filterwarnings("ignore")
def test_the_hash_of_a_model_does_not_depend_on_the_type_it_computes_in(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for features in ({"amx_bf16": True}, {}):
        monkeypatch.setattr(dtype.torch.cpu, "get_capabilities", lambda found=features: found)
        loaded = load(str(llama_folder), device="cpu")
        hashes.append((loaded.model.dtype, weights_sha256(loaded.model, loaded.own_dtype)))
    assert [one[0] for one in hashes] == [BF16, F32]
    assert hashes[0][1] == hashes[1][1]


def test_a_model_that_overflows_is_refused_with_layer_head_and_token(
    llama: LoadedModel, tmp_path: Path
) -> None:
    attention = llama.model.model.layers[1].self_attn
    with torch.no_grad():
        attention.k_proj.weight[16:] *= 1e5  # KV head 1; a float16 ends at 65,504
    model = llama.model.to(F16)
    with pytest.raises(UserError, match=r"layer 1, KV head 1: the key of token 0 is not finite"):
        capture(LoadedModel("tiny", model, None), Request(PROMPT, 3), tmp_path / "t")
    assert not any(tmp_path.iterdir())


def test_keys_too_large_for_the_stored_type_are_refused(llama: LoadedModel, tmp_path: Path) -> None:
    with torch.no_grad():
        llama.model.model.layers[0].self_attn.k_proj.weight[:16] *= 1e6
    narrow = replace(llama, stored_dtype=F16)
    with pytest.raises(UserError, match=r"layer 0, KV head 0: the key of token \d+ is not finite"):
        capture(narrow, Request(PROMPT, 3), tmp_path / "t")
    capture(llama, Request(PROMPT, 3), tmp_path / "t")


def test_a_step_that_overflows_is_refused_with_its_token(
    llama: LoadedModel, tmp_path: Path
) -> None:
    with torch.no_grad():
        llama.model.model.embed_tokens.weight[279] = float("nan")
    request = Request(PROMPT, 3, forced_ids=[5, 279, 6])
    with pytest.raises(UserError, match=r"layer 0, KV head 0: the key of token 101 is not finite"):
        capture(llama, request, tmp_path / "t")
    assert not any(tmp_path.iterdir())


def test_a_cache_whose_numbers_are_not_those_attended_is_refused(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.cache_utils import DynamicLayer

    update = DynamicLayer.update

    def copying(self: Any, *new: Any, **others: Any) -> Any:
        key, value = update(self, *new, **others)
        return key.clone(), value.clone()

    monkeypatch.setattr(DynamicLayer, "update", copying)
    with pytest.raises(UserError, match="layer 0, KV head 0: the model's cache holds numbers"):
        capture(replace(llama, stored_dtype=F16), Request(PROMPT, 3), tmp_path / "t")
