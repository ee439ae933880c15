"""Tiny random-weight models, made from configurations: nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tracegen.base.cpu import make_bfloat16_safe
from tracegen.capture.model import LoadedModel

make_bfloat16_safe()  # before torch's first product in this process

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 280,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def byte_tokenizer() -> Any:
    """Return a tokenizer with one token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={one: index for index, one in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def random_model(config_class: str, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """Return a model with weights large enough that its attention is far from uniform."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**options)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for name, weight in model.named_parameters():
        if weight.ndim > 1 or name.endswith("sinks"):
            torch.nn.init.normal_(weight, std=2 if name.endswith("sinks") else 0.2)
    return model.to(dtype).eval()


@pytest.fixture(scope="session")
def build_model() -> Callable[..., Any]:
    """Return the function that makes a random model of a configuration class."""
    return random_model


@pytest.fixture
def llama() -> LoadedModel:
    """Return a loaded random Llama of 2 layers, 4 query and 2 KV heads of 16, with a tokenizer."""
    model = random_model("LlamaConfig", head_dim=16, **SMALL)
    return LoadedModel("tiny", model, byte_tokenizer())


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds a random bfloat16 Llama and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "llama"
    transformers.utils.logging.disable_progress_bar()
    random_model("LlamaConfig", torch.bfloat16, head_dim=16, **SMALL).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
