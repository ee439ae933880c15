"""Tiny random-weight models of several families, made from configurations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 96,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaConfig": BASE,
    # soft caps and windows
    "Gemma2Config": BASE | {"head_dim": 16, "sliding_window": 48, "query_pre_attn_scalar": 20},
    "Gemma3TextConfig": BASE | {"head_dim": 16, "sliding_window": 48, "layer_types": WINDOWS},
    "Qwen3Config": BASE | {"head_dim": 16},
    # learned positions, one KV head a query head
    "GPT2Config": {"n_embd": 48, "n_layer": 3, "n_head": 4, "vocab_size": 96, "n_positions": 256},
    "MixtralConfig": BASE | {"num_local_experts": 4, "num_experts_per_tok": 2},
    # a logit beside the tokens' in each query head's softmax
    "GptOssConfig": BASE
    | {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}
    | {"sliding_window": 48, "layer_types": WINDOWS},
    # the last layer reads the keys and values of the second
    "Gemma4TextConfig": BASE
    | {"head_dim": 16, "global_head_dim": 32, "num_kv_shared_layers": 1, "sliding_window": 48}
    | {"num_hidden_layers": 3, "layer_types": ["sliding_attention", *["full_attention"] * 2]}
    | {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 96},
}


def tiny_model(family: str, **options: Any) -> Any:
    """Return a model with weights large enough that its attention is far from uniform."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = getattr(transformers, family)(**(FAMILIES[family] | options))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for name, weight in model.named_parameters():
        if weight.ndim > 1 or name.endswith("sinks"):
            torch.nn.init.normal_(weight, std=2 if name.endswith("sinks") else 0.2)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def family_model() -> Callable[[str], Any]:
    """Return the function that makes a family's model, each made once."""
    made: dict[str, Any] = {}

    def model(family: str) -> Any:
        if family not in made:
            made[family] = tiny_model(family)
        return made[family]

    return model


@pytest.fixture(scope="session")
def families() -> list[str]:
    """Return the names that `family_model` takes."""
    return list(FAMILIES)
