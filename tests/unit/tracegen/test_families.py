"""Families of decoders: what a trace holds is what the model's own attention computed.

The twin is transformers' eager attention, run over all tokens at once without any recording: its
attention weights, applied to the stored values, must give the stored outputs; its weights over the
prompt must add up to the stored column sums; its log-probabilities must be the stored ones.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tracegen.base.errors import UserError
from tracegen.capture.model import LoadedModel
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.trace.store import Trace
from tracegen.trace.verify import verify

BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 96,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
MIXED = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
OVER_AND_OVER = ["sliding_attention", "full_attention"] * 2
SHARED = BASE | {
    "head_dim": 16,
    "num_hidden_layers": 4,
    "sliding_window": 8,
    "layer_types": OVER_AND_OVER,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 96,
}
"""Layers 2 and 3 read the keys and values of layers 0 and 1."""
GPT2 = {"n_embd": 48, "n_layer": 2, "n_head": 4, "vocab_size": 96, "n_positions": 256}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
}
N_PROMPT, N_STEPS = 20, 6

FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaConfig": BASE,
    "MistralConfig": BASE | {"sliding_window": 8},
    "Qwen2Config": BASE | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "Qwen3Config": BASE | {"head_dim": 16},
    "GemmaConfig": BASE | {"head_dim": 32},
    "Gemma2Config": BASE | {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 20},
    "Gemma3TextConfig": BASE | MIXED | {"head_dim": 16},
    "Phi3Config": BASE,
    "PhiConfig": BASE,
    "GPTNeoXConfig": BASE,
    "OlmoConfig": BASE,
    "Olmo2Config": BASE,
    "Olmo3Config": BASE | MIXED,
    "GraniteConfig": BASE | {"attention_multiplier": 0.3},
    "MixtralConfig": BASE | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen2MoeConfig": BASE | EXPERTS | {"num_experts": 4, "shared_expert_intermediate_size": 32},
    "Qwen3MoeConfig": BASE | EXPERTS | {"num_experts": 4, "head_dim": 16},
    "StableLmConfig": BASE | {"partial_rotary_factor": 0.5},
    "CohereConfig": BASE,
    "Cohere2Config": BASE | MIXED,
    "Starcoder2Config": BASE,
    "GPT2Config": GPT2 | {"bos_token_id": 1, "eos_token_id": 2},
    "OPTConfig": BASE | {"ffn_dim": 64, "word_embed_proj_dim": 64},
    "SmolLM3Config": BASE,
    "Glm4Config": BASE | {"head_dim": 16},
    "NemotronConfig": BASE,
    "Exaone4Config": BASE | {"sliding_window": 8},
    "Gemma4TextConfig": SHARED | {"global_head_dim": 32},
    "Gemma3nTextConfig": SHARED | {"intermediate_size": [64] * 4, "laurel_rank": 8},
    "GptOssConfig": BASE | MIXED | {"head_dim": 16, "num_local_experts": 4, **EXPERTS},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DeepseekV3Config": (BASE | EXPERTS | LATENT, "DeepseekV3ForCausalLM: multi-head latent"),
    "MambaConfig": (
        {"hidden_size": 48, "num_hidden_layers": 2, "vocab_size": 96},
        "MambaForCausalLM: keeps no cache of keys and values",
    ),
    "FalconConfig": (BASE, "FalconForCausalLM: its attention does not go through"),
    "BloomConfig": (BASE | {"n_head": 4}, "BloomForCausalLM: its attention does not go through"),
    "GPTJConfig": (GPT2 | {"rotary_dim": 8}, "GPTJForCausalLM: its attention does not go through"),
    "OpenAIGPTConfig": (GPT2, "OpenAIGPTLMHeadModel: its attention does not go through"),
    "Llama4TextConfig": (
        BASE | {"head_dim": 16, "intermediate_size_mlp": 64, "num_local_experts": 2},
        "Llama4ForCausalLM: chunked attention",
    ),
    "DiffLlamaConfig": (BASE, "DiffLlamaForCausalLM: a layer attends more or less than once"),
}


def capture_random_prompt(model: Any, name: str, out: Path) -> Trace:
    ids = torch.randint(3, 96, (N_PROMPT,), generator=torch.Generator().manual_seed(1)).tolist()
    return capture(LoadedModel(name, model, None), Request(ids, N_STEPS), out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("config_class", FAMILIES)
def test_recomputed_attention_is_the_models_own(
    build_model: Callable[..., Any], tmp_path: Path, config_class: str
) -> None:
    model = build_model(config_class, **FAMILIES[config_class])
    trace = capture_random_prompt(model, config_class, tmp_path / "t")
    found = verify(trace)
    assert not found.problems
    assert found.output_error_ratio is not None and found.output_error_ratio < 1e-5

    manifest = trace.manifest
    assert manifest.layers == tuple(range(model.config.num_hidden_layers))
    tokens = trace.tokens()
    ids = torch.tensor([tokens["token_id"].to_list()])
    with torch.inference_mode():
        twin = model(ids, output_attentions=True, use_cache=False)
    expected = torch.log_softmax(twin.logits[0].float(), dim=-1)[N_PROMPT - 1 : -1]
    expected = expected.gather(1, ids[0, N_PROMPT:, None])[:, 0]
    np.testing.assert_allclose(tokens["log_prob"][N_PROMPT:].to_numpy(), expected, atol=1e-4)
    for layer in manifest.layers:
        weight = twin.attentions[layer][0].float().numpy()  # (q_heads, tokens, tokens)
        for kv_head in range(manifest.kv_heads):
            heads = slice(kv_head * manifest.group, (kv_head + 1) * manifest.group)
            output = weight[heads, N_PROMPT:] @ trace.value(layer, kv_head)
            np.testing.assert_allclose(trace.output(layer, kv_head), output, atol=1e-4)
            sums = trace.prompt_attention(layer, kv_head)
            assert sums is not None
            prompt = weight[heads, :N_PROMPT, :N_PROMPT]
            np.testing.assert_allclose(sums[0], prompt.sum(1), atol=1e-4)
            decay = 0.98 ** np.arange(N_PROMPT - 1, -1, -1)
            np.testing.assert_allclose(sums[1], (decay[:, None] * prompt).sum(1), atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("config_class", REFUSED)
def test_what_cannot_be_captured_is_refused_by_name(
    build_model: Callable[..., Any], tmp_path: Path, config_class: str
) -> None:
    options, message = REFUSED[config_class]
    model = build_model(config_class, **options)
    with pytest.raises(UserError, match=f"^{message}"):
        capture_random_prompt(model, config_class, tmp_path / "t")
    assert not any(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_keys_and_values_that_layers_share_are_stored_once(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = build_model("Gemma4TextConfig", **FAMILIES["Gemma4TextConfig"])
    trace = capture_random_prompt(model, "gemma4", tmp_path / "t")
    manifest = trace.manifest
    assert manifest.kv_layer == (0, 1, 0, 1)
    assert manifest.head_dim == (16, 32, 16, 32)
    assert manifest.sliding_window == (8, None, 8, None)
    assert sorted(one.name for one in (tmp_path / "t/kv").iterdir()) == [
        "layer_000.parquet",
        "layer_001.parquet",
    ]
    np.testing.assert_array_equal(trace.key(3, 1), trace.key(1, 1))
    # of layers 2 and 3 alone, the first that reads them holds them
    ids = trace.tokens()["token_id"][:N_PROMPT].to_list()
    request = Request(ids, N_STEPS, layers=[2, 3])
    alone = capture(LoadedModel("gemma4", model, None), request, tmp_path / "alone")
    assert alone.manifest.kv_layers == (2, 3)
    np.testing.assert_array_equal(alone.key(3, 1), trace.key(1, 1))
    np.testing.assert_array_equal(alone.output(2, 0), trace.output(2, 0))


@pytest.mark.filterwarnings("ignore")
def test_of_a_hybrid_the_layers_that_attend_are_captured(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = build_model("Lfm2Config", **BASE, layer_types=["conv", "full_attention"])
    trace = capture_random_prompt(model, "lfm2", tmp_path / "t")
    assert trace.manifest.layers == (1,)
    assert not verify(trace).problems
