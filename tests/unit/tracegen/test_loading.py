"""Folders with models: what is loaded of them, how far their context goes, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.unit.tracegen.conftest import SMALL, byte_tokenizer
from tracegen.base.errors import UserError
from tracegen.capture.model import LoadedModel, load
from tracegen.capture.own_generation import compare
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.trace.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore")
SHARED = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2}
VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = {name: value for name, value in SMALL.items() if name != "vocab_size"} | {"vocab_size": 300}
SEES_IMAGES: dict[str, dict[str, Any]] = {
    "LlavaConfig": {
        "text_config": TEXT | {"model_type": "llama"},
        "vision_config": VISION
        | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
        "image_token_index": 299,
    },
    "Mistral3Config": {
        "text_config": TEXT | {"model_type": "mistral"},
        "vision_config": VISION
        | {"model_type": "pixtral", "image_size": 28, "patch_size": 14, "head_dim": 16},
        "image_token_index": 299,
    },
    "Gemma4Config": {
        "text_config": TEXT
        | SHARED
        | {"num_hidden_layers": 4, "head_dim": 16, "global_head_dim": 32, "sliding_window": 8}
        | {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 300},
        "vision_config": VISION | {"num_key_value_heads": 2, "head_dim": 16},
        "audio_config": None,
        **{f"{name}_token_id": 290 + at for at, name in enumerate(("image", "video", "audio"))},
        **{f"{name}_token_id": 294 + at for at, name in enumerate(("boi", "eoi", "boa"))},
        "eoa_token_index": 299,
    },
    "Qwen2VLConfig": {
        "text_config": TEXT
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]}},
        "vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 48, "num_heads": 2},
    },
}


def save(folder: Path, config_class: str, options: dict[str, Any]) -> Path:
    config = getattr(transformers, config_class)(**options)
    model = transformers.AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("config_class", SEES_IMAGES)
def test_of_a_model_that_sees_images_the_text_is_captured(
    tmp_path: Path, config_class: str
) -> None:
    folder = save(tmp_path / "model", config_class, SEES_IMAGES[config_class])
    loaded = load(str(folder), dtype="float32", device="cpu")
    assert loaded.context_tokens == 2048
    trace = capture(loaded, Request(list(range(3, 63)), 5), tmp_path / "t")
    assert (trace.manifest.q_heads, trace.manifest.kv_heads) == (4, 2)
    assert not verify(trace).problems


@pytest.mark.parametrize(
    ("rope", "tokens"),
    [
        ({"rope_type": "default"}, 2048),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}, 8192),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, 2048),
        ({"rope_type": "dynamic", "factor": 2.0}, 4096),
        ({"rope_type": "linear", "factor": 2.0}, 4096),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 512,
            },
            2048,
        ),
    ],
)
def test_the_context_is_as_long_as_the_recipe_stretches_it(
    build_model: Callable[..., Any], rope: dict[str, Any], tokens: int
) -> None:
    model = build_model("LlamaConfig", **SMALL, rope_parameters=rope | {"rope_theta": 1e4})
    assert LoadedModel("tiny", model, None).context_tokens == tokens


def test_a_folder_without_a_tokenizer_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((llama_folder / name).read_bytes())
    with pytest.raises(UserError, match=r"its tokenizer cannot be loaded \(.*; put the model's"):
        load(str(tmp_path))


def test_truncated_weights_are_refused(llama_folder: Path, tmp_path: Path) -> None:
    for path in llama_folder.iterdir():
        data = path.read_bytes()
        whole = path.name != "model.safetensors"
        (tmp_path / path.name).write_bytes(data if whole else data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        load(str(tmp_path))


@pytest.fixture
def with_code(llama_folder: Path, tmp_path: Path) -> Path:
    """Return a folder whose model is a class of its own code, which leaves a mark when run."""
    for path in llama_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code = (
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    (tmp_path / "own.py").write_text(code)
    config = json.loads((tmp_path / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": names, "architectures": ["OwnModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_the_code_of_a_model_is_not_run_and_nobody_is_asked(
    with_code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    with pytest.raises(UserError, match=r"code of its own.*give --trust-remote-code"):
        load(str(with_code))
    assert not (with_code / "ran").exists()


def test_the_code_of_a_trusted_model_is_run(with_code: Path) -> None:
    loaded = load(str(with_code), device="cpu", trust_remote_code=True)
    assert type(loaded.model).__name__ == "OwnModel"
    assert (with_code / "ran").exists()


LONG_ROPE = {
    "original_max_position_embeddings": 64,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "original_max_position_embeddings": 64,
        "short_factor": [1.0] * 6,
        "long_factor": [4.0] * 6,
    },
}


@pytest.mark.parametrize(("prompt_tokens", "steps"), [(30, 34), (65, 5)])
def test_a_longrope_model_is_captured_as_it_generates_on_either_side_of_its_switch(
    build_model: Callable[..., Any], tmp_path: Path, prompt_tokens: int, steps: int
) -> None:
    model = build_model("Phi3Config", **SMALL, **LONG_ROPE)
    ids = list(range(3, 3 + prompt_tokens))
    loaded = LoadedModel("phi", model, None)
    trace = capture(loaded, Request(ids, steps), tmp_path / "t")
    assert compare(trace, loaded).log_prob_error_nats < 1e-4
    alone = model.generate(
        torch.tensor([ids]), max_new_tokens=steps, do_sample=False, eos_token_id=None
    )
    assert trace.tokens()["token_id"].to_list() == alone[0].tolist()
    assert not verify(trace).problems


def test_a_longrope_model_that_would_switch_while_decoding_is_refused(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = build_model("Phi3Config", **SMALL, **LONG_ROPE)
    request = Request(list(range(3, 63)), 5)
    with pytest.raises(UserError, match="rotary embedding changes at 64 tokens, between the"):
        capture(LoadedModel("phi", model, None), request, tmp_path / "t")


def test_a_trace_that_was_captured_across_the_switch_fails_its_check(
    build_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model("Phi3Config", **SMALL, **LONG_ROPE)
    monkeypatch.setattr("tracegen.capture.run.switch_tokens", lambda *_: None)
    request = Request(list(range(3, 63)), 9)
    loaded = LoadedModel("phi", model, None)
    trace = capture(loaded, request, tmp_path / "t")
    assert "changes at 64 tokens" in verify(trace).problems[0]
    own = compare(trace, loaded)
    assert own.worst_step >= 5, "the first token that follows more than 64"
    assert own.problem is not None
    assert "the model by itself gives the token of step" in own.problem


def test_dynamic_scaling_is_captured_as_it_generates(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    model = build_model(
        "LlamaConfig", **SMALL | {"max_position_embeddings": 64}, rope_parameters=rope
    )
    ids = list(range(3, 63))
    trace = capture(LoadedModel("tiny", model, None), Request(ids, 20), tmp_path / "t")
    alone = model.generate(
        torch.tensor([ids]), max_new_tokens=20, do_sample=False, eos_token_id=None
    )
    assert trace.tokens()["token_id"].to_list() == alone[0].tolist()


def test_a_model_spread_over_devices_gives_the_same_trace(
    llama_folder: Path, tmp_path: Path
) -> None:
    whole = load(str(llama_folder), dtype="float32", device="cpu")
    places = ("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head")
    spread = load(
        str(llama_folder),
        dtype="float32",
        device_map={**dict.fromkeys(places, "cpu"), "model.layers.1": "disk"},
    )
    assert spread.model.model.layers[1].self_attn.q_proj.weight.is_meta  # it is not in memory
    ids = list(range(3, 63))
    one, two = (
        capture(loaded, Request(ids, 5), tmp_path / name)
        for name, loaded in (("whole", whole), ("spread", spread))
    )
    assert one.manifest.model_sha256 == two.manifest.model_sha256
    assert one.tokens()["token_id"].to_list() == two.tokens()["token_id"].to_list()
    assert not verify(two).problems
    np.testing.assert_allclose(one.key(1, 0), two.key(1, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device_map": "auto", "device": "cpu"}, "--device-map: says where the model lies"),
        ({"device_map": "balanced"}, "--device-map balanced: unknown; allowed: auto"),
    ],
)
def test_a_device_map_is_refused_where_it_says_nothing(
    llama_folder: Path, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        load(str(llama_folder), **options)


def test_a_trace_is_compared_with_its_own_model_alone(
    build_model: Callable[..., Any], tmp_path: Path, make_trace: Callable[..., Any]
) -> None:
    model = build_model("LlamaConfig", **SMALL)
    loaded = LoadedModel("tiny", model, None)
    forced = Request(list(range(3, 40)), 4, forced_ids=[7, 2, 7, 2])  # 2 would end the text
    trace = capture(loaded, forced, tmp_path / "t")
    assert compare(trace, loaded).log_prob_error_nats < 1e-4
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    with pytest.raises(UserError, match=r"--model tiny: not the model of .*: its weights or its"):
        compare(trace, loaded)
    with pytest.raises(UserError, match="only captured traces do"):
        compare(make_trace(tmp_path / "random"), loaded)
